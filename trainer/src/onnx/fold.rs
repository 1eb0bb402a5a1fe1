//! Operators on known numbers: shapes, and weights that an exporter left to be put together.

use super::array::{Array, View, common, count};
use super::fault::{AGAIN, Fault};
use super::tensor::Tensor;

/// The most multiplications of one matrix product of constants.
const MAX_MULTIPLICATIONS: usize = 1 << 27;

/// The result of an elementwise operator on one value of each operand, or none where the operator is another.
/// Truth is 1.
pub fn elementwise(op: &str, v: &[f64]) -> Option<f64> {
    let truth = |b: bool| Some(f64::from(u8::from(b)));
    match (op, v) {
        ("Add", &[a, b]) => Some(a + b),
        ("Sub", &[a, b]) => Some(a - b),
        ("Mul", &[a, b]) => Some(a * b),
        ("Div", &[a, b]) => Some(a / b),
        ("Pow", &[a, b]) => Some(a.powf(b)),
        ("Mod", &[a, b]) => Some(a - b * (a / b).floor()),
        ("Min", &[a, b]) => Some(a.min(b)),
        ("Max", &[a, b]) => Some(a.max(b)),
        ("Less", &[a, b]) => truth(a < b),
        ("LessOrEqual", &[a, b]) => truth(a <= b),
        ("Greater", &[a, b]) => truth(a > b),
        ("GreaterOrEqual", &[a, b]) => truth(a >= b),
        ("Equal", &[a, b]) => truth(a == b),
        ("And", &[a, b]) => truth(a != 0.0 && b != 0.0),
        ("Or", &[a, b]) => truth(a != 0.0 || b != 0.0),
        ("Not", &[a]) => truth(a == 0.0),
        ("Neg", &[a]) => Some(-a),
        ("Abs", &[a]) => Some(a.abs()),
        ("Floor", &[a]) => Some(a.floor()),
        ("Ceil", &[a]) => Some(a.ceil()),
        ("Sqrt", &[a]) => Some(a.sqrt()),
        ("Exp", &[a]) => Some(a.exp()),
        ("Reciprocal", &[a]) => Some(1.0 / a),
        ("Tanh", &[a]) => Some(a.tanh()),
        ("Sigmoid", &[a]) => Some(1.0 / (1.0 + (-a).exp())),
        ("Relu", &[a]) => Some(a.max(0.0)),
        ("Where", &[c, a, b]) => Some(if c != 0.0 { a } else { b }),
        _ => None,
    }
}

/// Whether the operator's result is a truth value.
pub fn is_truth(op: &str) -> bool {
    matches!(
        op,
        "Less" | "LessOrEqual" | "Greater" | "GreaterOrEqual" | "Equal" | "And" | "Or" | "Not"
    )
}

/// An elementwise operator on constants.
pub fn apply(op: &str, operands: &[&Tensor]) -> Result<Option<Tensor>, Fault> {
    if elementwise(op, &vec![0.0; operands.len()]).is_none() {
        return Ok(None);
    }
    let mut shape = Vec::new();
    for operand in operands {
        shape = common(&shape, operand.shape())?;
    }
    let values: Vec<Vec<f64>> = operands
        .iter()
        .map(|operand| {
            Ok(View::broadcast(operand.shape(), &shape)?
                .of(&operand.doubles().data)
                .data)
        })
        .collect::<Result<_, Fault>>()?;
    // Which operands say the result's type: not the condition of a Where.
    let typed = if op == "Where" {
        &operands[1..]
    } else {
        operands
    };
    let float = typed.iter().any(|t| matches!(t, Tensor::Float(_)));
    let integer = typed.iter().any(|t| matches!(t, Tensor::Int(_)));
    let mut row = vec![0.0; operands.len()];
    let results = (0..count(&shape)?).map(|at| {
        row.iter_mut()
            .zip(&values)
            .for_each(|(value, all)| *value = all[at]);
        let result = elementwise(op, &row).expect("checked above");
        // Integers are divided towards 0.
        if op == "Div" && !float {
            result.trunc()
        } else {
            result
        }
    });
    let results: Vec<f64> = results.collect();
    Ok(Some(if is_truth(op) {
        Tensor::Bool(Array {
            shape,
            data: results.iter().map(|&x| x != 0.0).collect(),
        })
    } else if float {
        Tensor::Float(Array {
            shape,
            data: results.iter().map(|&x| x as f32).collect(),
        })
    } else if integer {
        if results.iter().any(|x| !x.is_finite()) {
            return Err(Fault::new("a division by 0", "a number", AGAIN));
        }
        Tensor::Int(Array {
            shape,
            data: results.iter().map(|&x| x as i64).collect(),
        })
    } else {
        Tensor::Bool(Array {
            shape,
            data: results.iter().map(|&x| x != 0.0).collect(),
        })
    }))
}

/// A matrix product `[..., K] x [K, N]` of constants.
pub fn mat_mul(a: &Tensor, b: &Tensor) -> Result<Tensor, Fault> {
    let (a, b) = (a.floats()?, b.floats()?);
    let refused = || {
        Fault::new(
            format!("a product of {:?} and {:?}", a.shape, b.shape),
            "[..., K] and [K, N]",
            AGAIN,
        )
    };
    let (Some((&k, outer)), &[rows, n]) = (a.shape.split_last(), &b.shape[..]) else {
        return Err(refused());
    };
    let lines = count(outer)?;
    let cost = lines.checked_mul(n).and_then(|x| x.checked_mul(k));
    if k != rows || cost.is_none_or(|cost| cost > MAX_MULTIPLICATIONS) {
        return Err(refused());
    }
    let shape = [outer, &[n]].concat();
    let mut data = vec![0.0; count(&shape)?];
    for line in 0..lines {
        for i in 0..k {
            let x = a.data[line * k + i];
            let row = &b.data[i * n..][..n];
            data[line * n..][..n]
                .iter_mut()
                .zip(row)
                .for_each(|(sum, w)| *sum += x * w);
        }
    }
    Ok(Tensor::Float(Array { shape, data }))
}

/// A reduction of constants over `axes`.
pub fn reduce(op: &str, a: &Tensor, axes: &[usize], keep: bool) -> Result<Tensor, Fault> {
    let values = a.doubles();
    let outer: Vec<usize> = (0..values.shape.len())
        .filter(|dim| !axes.contains(dim))
        .collect();
    let perm = [&outer[..], axes].concat();
    let inner: usize = axes.iter().map(|&axis| values.shape[axis]).product();
    let moved = View::transpose(&values.shape, &perm)?.of(&values.data);
    if inner == 0 {
        return Err(Fault::new("an empty axis", "at least one element", AGAIN));
    }
    let reduced: Option<Vec<f64>> = moved
        .data
        .chunks(inner)
        .map(|chunk| match op {
            "ReduceSum" => Some(chunk.iter().sum()),
            "ReduceMean" => Some(chunk.iter().sum::<f64>() / inner as f64),
            "ReduceProd" => Some(chunk.iter().product()),
            "ReduceMax" => chunk.iter().copied().reduce(f64::max),
            "ReduceMin" => chunk.iter().copied().reduce(f64::min),
            _ => None,
        })
        .collect();
    let data = reduced.ok_or_else(|| Fault::new(format!("operator {op}"), "another one", AGAIN))?;
    let shape = (0..values.shape.len())
        .filter(|dim| keep || !axes.contains(dim))
        .map(|dim| {
            if axes.contains(&dim) {
                1
            } else {
                values.shape[dim]
            }
        })
        .collect();
    Ok(match a {
        Tensor::Int(_) => Tensor::Int(Array {
            shape,
            data: data.iter().map(|&x| x as i64).collect(),
        }),
        _ => Tensor::Float(Array {
            shape,
            data: data.iter().map(|&x| x as f32).collect(),
        }),
    })
}

/// A function of every element.
pub fn map(x: &Array<f32>, f: impl Fn(f32) -> f32) -> Tensor {
    let data = x.data.iter().map(|&x| f(x)).collect();
    let shape = x.shape.clone();
    Tensor::Float(Array { shape, data })
}

/// Softmax over the last axis, or its logarithm.
pub fn softmax(x: &Array<f32>, log: bool) -> Result<Tensor, Fault> {
    let width = x.shape.last().copied().unwrap_or(1).max(1);
    let mut data = Vec::with_capacity(x.data.len());
    for row in x.data.chunks(width) {
        let max = row.iter().fold(f32::MIN, |a, &b| a.max(b));
        let sum: f32 = row.iter().map(|x| (x - max).exp()).sum();
        data.extend(row.iter().map(|x| {
            if log {
                x - max - sum.ln()
            } else {
                (x - max).exp() / sum
            }
        }));
    }
    let shape = x.shape.clone();
    Ok(Tensor::Float(Array { shape, data }))
}

/// Ones at the ids, along a new last axis.
pub fn one_hot(ids: &Tensor, depth: &Tensor, values: &Tensor) -> Result<Tensor, Fault> {
    let ids = ids.doubles();
    let (depth, off_on) = (depth.scalar()?, values.doubles().data);
    let &[off, on] = &off_on[..] else {
        return Err(Fault::new(
            format!("{} values", off_on.len()),
            "off and on",
            AGAIN,
        ));
    };
    let shape = [&ids.shape[..], &[depth.max(0.0) as usize]].concat();
    count(&shape)?;
    let row =
        |&id: &f64| (0..depth as usize).map(move |i| if i as f64 == id { on } else { off } as f32);
    let data = ids.data.iter().flat_map(row).collect();
    Ok(Tensor::Float(Array { shape, data }))
}
