//! Arrays of anything, and the operators that only move elements about.
//!
//! Every one of them is a [`View`]: for each element of the result, which element of the operand it is. A view of weights
//! moves weights; a view of what is not yet known moves the knowledge of which element is which, so that no order of
//! Transpose, Reshape and Slice has to be recognized.

use super::fault::{AGAIN, Fault};

/// The most elements of one array.
const MAX_ELEMENTS: usize = 1 << 24;

/// The most dimensions of one array.
const MAX_RANK: usize = 8;

/// Elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    pub shape: Vec<usize>,
    pub data: Vec<T>,
}

/// The number of elements of `shape`, where it is bearable.
pub fn count(shape: &[usize]) -> Result<usize, Fault> {
    let elements = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b));
    elements
        .filter(|&n| n <= MAX_ELEMENTS && shape.len() <= MAX_RANK)
        .ok_or_else(|| {
            let some = &shape[..shape.len().min(MAX_RANK)];
            let expected = format!("at most {MAX_RANK} dimensions and {MAX_ELEMENTS} elements");
            Fault::new(
                format!("an array of {some:?}"),
                expected,
                "a board needs a smaller network",
            )
        })
}

/// `axis` counted from the end where it is negative.
pub fn axis(axis: i64, rank: usize) -> Result<usize, Fault> {
    let from_start = if axis < 0 {
        axis.checked_add(rank as i64)
    } else {
        Some(axis)
    };
    from_start
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|&axis| axis < rank)
        .ok_or_else(|| Fault::new(format!("axis {axis}"), format!("an axis of {rank}"), AGAIN))
}

/// Which element of an operand each element of the result is.
pub struct View {
    pub shape: Vec<usize>,
    pub from: Vec<u32>,
}

impl View {
    /// From the operand's index of each dimension, given as what a step along it adds, and an offset.
    fn strided(shape: Vec<usize>, strides: &[isize], offset: isize) -> Result<Self, Fault> {
        let elements = count(&shape)?;
        let mut from = Vec::with_capacity(elements);
        let mut at = vec![0usize; shape.len()];
        let mut place = offset;
        for _ in 0..elements {
            from.push(place as u32);
            for dim in (0..shape.len()).rev() {
                at[dim] += 1;
                place += strides[dim];
                if at[dim] < shape[dim] {
                    break;
                }
                place -= strides[dim] * shape[dim] as isize;
                at[dim] = 0;
            }
        }
        Ok(Self { shape, from })
    }

    /// The elements in their order, in another shape; one size may be -1, and 0 takes the operand's unless `allow_zero`.
    pub fn reshape(shape: &[usize], sizes: &[i64], allow_zero: bool) -> Result<Self, Fault> {
        let elements = count(shape)?;
        let refused = || {
            let sizes = &sizes[..sizes.len().min(MAX_RANK)];
            Fault::new(
                format!("shape {sizes:?} for an array of {shape:?}"),
                "as many elements",
                AGAIN,
            )
        };
        let mut result = Vec::new();
        let mut open = None;
        for (dim, &size) in sizes.iter().enumerate() {
            result.push(match size {
                -1 if open.is_none() => {
                    open = Some(dim);
                    1
                }
                0 if !allow_zero => *shape.get(dim).ok_or_else(refused)?,
                size => usize::try_from(size).map_err(|_| refused())?,
            });
        }
        let known = count(&result)?;
        if let Some(open) = open {
            if known == 0 || !elements.is_multiple_of(known) {
                return Err(refused());
            }
            result[open] = elements / known;
        }
        if count(&result)? != elements {
            return Err(refused());
        }
        let from = (0..elements as u32).collect();
        Ok(Self {
            shape: result,
            from,
        })
    }

    /// Dimension `i` of the result is dimension `perm[i]` of the operand.
    pub fn transpose(shape: &[usize], perm: &[usize]) -> Result<Self, Fault> {
        let mut seen = vec![false; shape.len()];
        let all = perm
            .iter()
            .all(|&p| p < seen.len() && !std::mem::replace(&mut seen[p], true));
        if perm.len() != shape.len() || !all {
            return Err(Fault::new(
                format!("perm {perm:?}"),
                format!("an order of {} axes", shape.len()),
                AGAIN,
            ));
        }
        let strides = strides(shape);
        let moved: Vec<isize> = perm.iter().map(|&p| strides[p]).collect();
        Self::strided(perm.iter().map(|&p| shape[p]).collect(), &moved, 0)
    }

    /// From `start` on in steps along one axis, `length` of them.
    pub fn slice(
        shape: &[usize],
        axis: usize,
        start: usize,
        step: isize,
        length: usize,
    ) -> Result<Self, Fault> {
        let mut all = strides(shape);
        let offset = start as isize * all[axis];
        all[axis] *= step;
        let mut result = shape.to_vec();
        result[axis] = length;
        Self::strided(result, &all, offset)
    }

    /// The elements at `index` along `axis`, in the place of that axis.
    pub fn gather(shape: &[usize], axis: usize, index: &Array<i64>) -> Result<Self, Fault> {
        let (before, rest) = shape.split_at(axis);
        let (size, after) = (rest[0], &rest[1..]);
        let result = [before, &index.shape, after].concat();
        let (outer, inner) = (count(before)?, count(after)?);
        let mut from = Vec::with_capacity(count(&result)?);
        let places: Option<Vec<usize>> = index
            .data
            .iter()
            .map(|&i| {
                usize::try_from(if i < 0 {
                    i.checked_add(size as i64)?
                } else {
                    i
                })
                .ok()
                .filter(|&i| i < size)
            })
            .collect();
        let places = places.ok_or_else(|| {
            Fault::new(
                "an index out of range",
                format!("indices below {size}"),
                AGAIN,
            )
        })?;
        for o in 0..outer {
            for &place in &places {
                let first = (o * size + place) * inner;
                from.extend((first..first + inner).map(|i| i as u32));
            }
        }
        Ok(Self {
            shape: result,
            from,
        })
    }

    /// Repeats dimensions of size 1 until the shape is `to`.
    pub fn broadcast(shape: &[usize], to: &[usize]) -> Result<Self, Fault> {
        count(to)?;
        let missing = to.len().checked_sub(shape.len());
        let strides = strides(shape);
        let repeated: Option<Vec<isize>> = missing.and_then(|missing| {
            let own = shape.iter().zip(&to[missing..]).zip(strides);
            let own = own.map(|((&size, &to), stride)| match size {
                _ if size == to => Some(stride),
                1 => Some(0),
                _ => None,
            });
            std::iter::repeat_n(Some(0), missing).chain(own).collect()
        });
        let repeated = repeated.ok_or_else(|| {
            Fault::new(
                format!("an array of {shape:?}"),
                format!("one that can be repeated to {to:?}"),
                AGAIN,
            )
        })?;
        Self::strided(to.to_vec(), &repeated, 0)
    }

    /// Applies the view.
    pub fn of<T: Clone>(self, data: &[T]) -> Array<T> {
        let data = self
            .from
            .iter()
            .map(|&from| data[from as usize].clone())
            .collect();
        Array {
            shape: self.shape,
            data,
        }
    }
}

/// What a step along each dimension adds to an index.
fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for dim in (1..shape.len()).rev() {
        strides[dim - 1] = strides[dim] * shape[dim] as isize;
    }
    strides
}

/// The shape that both operands of an elementwise operator are repeated to.
pub fn common(a: &[usize], b: &[usize]) -> Result<Vec<usize>, Fault> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], dim: usize| {
        (dim + shape.len())
            .checked_sub(rank)
            .map_or(1, |dim| shape[dim])
    };
    let sizes: Option<Vec<usize>> = (0..rank)
        .map(|dim| match (size(a, dim), size(b, dim)) {
            (a, b) if a == b => Some(a),
            (1, size) | (size, 1) => Some(size),
            _ => None,
        })
        .collect();
    let sizes = sizes.ok_or_else(|| {
        Fault::new(
            format!("arrays of {a:?} and {b:?}"),
            "shapes that go together",
            AGAIN,
        )
    })?;
    count(&sizes)?;
    Ok(sizes)
}

/// Joins arrays along an axis.
pub fn concat<T: Clone>(parts: &[&Array<T>], axis: usize) -> Result<Array<T>, Fault> {
    let mut shape = parts[0].shape.clone();
    shape[axis] = 0;
    for part in parts {
        let same = part.shape.len() == shape.len()
            && part
                .shape
                .iter()
                .zip(&shape)
                .enumerate()
                .all(|(dim, (a, b))| dim == axis || a == b);
        if !same {
            return Err(Fault::new(
                format!("parts of {:?} and {:?}", parts[0].shape, part.shape),
                "parts that differ in one axis",
                AGAIN,
            ));
        }
        shape[axis] = shape[axis].saturating_add(part.shape[axis]);
    }
    let mut data = Vec::with_capacity(count(&shape)?);
    let outer = count(&shape[..axis])?;
    for o in 0..outer {
        for part in parts {
            let chunk = part.data.len() / outer.max(1);
            data.extend_from_slice(&part.data[o * chunk..][..chunk]);
        }
    }
    Ok(Array { shape, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(view: Result<View, Fault>) -> (Vec<usize>, Vec<usize>) {
        let array = view.unwrap().of(&(0..24).collect::<Vec<usize>>());
        (array.shape, array.data)
    }

    #[test]
    fn views_are_what_numpy_says() {
        // numpy.arange(24).reshape(2, 3, 4), then as named.
        let shape = [2, 3, 4];
        let (s, d) = apply(View::transpose(&shape, &[2, 0, 1]));
        assert_eq!((s, &d[..7]), (vec![4, 2, 3], &[0, 4, 8, 12, 16, 20, 1][..]));
        // [:, ::-2]
        let (s, d) = apply(View::slice(&shape, 1, 2, -2, 2));
        assert_eq!(
            (s, &d[..8]),
            (vec![2, 2, 4], &[8, 9, 10, 11, 0, 1, 2, 3][..])
        );
        // numpy.take(a, [2, -3], axis=1)
        let index = Array {
            shape: vec![2],
            data: vec![2, -3],
        };
        let (s, d) = apply(View::gather(&shape, 1, &index));
        assert_eq!(
            (s, &d[..8]),
            (vec![2, 2, 4], &[8, 9, 10, 11, 0, 1, 2, 3][..])
        );
        let (s, d) = apply(View::broadcast(&[3, 1], &[2, 3, 2]));
        assert_eq!(
            (s, d),
            (vec![2, 3, 2], vec![0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2])
        );
        assert_eq!(apply(View::reshape(&shape, &[0, -1], false)).0, [2, 12]);
        let (a, b) = (
            Array {
                shape: vec![2, 1],
                data: vec![1, 2],
            },
            Array {
                shape: vec![2, 2],
                data: vec![3, 4, 5, 6],
            },
        );
        assert_eq!(concat(&[&a, &b], 1).unwrap().data, [1, 3, 4, 2, 5, 6]);
        assert_eq!(common(&[2, 1, 4], &[3, 1]).unwrap(), [2, 3, 4]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(View::reshape(&[2, 3], &[4, -1], false).is_err());
        assert!(View::reshape(&[2, 3], &[-1, -1], false).is_err());
        assert!(View::transpose(&[2, 3], &[0, 0]).is_err());
        assert!(
            View::gather(
                &[2, 3],
                1,
                &Array {
                    shape: vec![1],
                    data: vec![3]
                }
            )
            .is_err()
        );
        assert!(View::broadcast(&[1], &[1 << 20, 1 << 20]).is_err());
        assert!(common(&[2], &[3]).is_err());
        assert!(axis(-4, 3).is_err() && axis(i64::MIN, 3).is_err() && axis(3, 3).is_err());
    }
}
