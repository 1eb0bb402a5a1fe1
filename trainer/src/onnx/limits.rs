//! What a file may cost before it is understood.
//!
//! A protobuf field of two bytes can decode to a message of hundreds. So the fields are counted first, without
//! decoding: a file that would need much more memory than its own size is refused.

/// The largest file that is read: 128 MB, about 33 million weights.
pub const MAX_FILE_BYTES: usize = 128 << 20;

/// Far above what a recurrent network of a few layers needs: most of its bytes are weights, in few fields.
const MAX_FIELDS: usize = 100_000;

/// Messages inside messages; a language model has six levels.
const MAX_DEPTH: usize = 32;

/// The messages of `onnx.proto` that hold other messages.
#[derive(Clone, Copy)]
enum Message {
    Model,
    Graph,
    Node,
    Attribute,
    Tensor,
    SparseTensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Annotation,
    Training,
    Function,
    /// Holds no message.
    Leaf,
}

impl Message {
    /// The message in field `tag`, or none where the field is a number, a text or weights.
    fn field(self, tag: u64) -> Option<Message> {
        use Message::*;
        match (self, tag) {
            (Model, 7) => Some(Graph),
            (Model, 20) => Some(Training),
            (Model, 25) => Some(Function),
            (Model, 8 | 14) => Some(Leaf),
            (Graph, 1) => Some(Node),
            (Graph, 5) => Some(Tensor),
            (Graph, 15) => Some(SparseTensor),
            (Graph, 11..=13) => Some(ValueInfo),
            (Graph, 14) => Some(Annotation),
            (Node, 5) => Some(Attribute),
            (Attribute, 5 | 10) => Some(Tensor),
            (Attribute, 6 | 11) => Some(Graph),
            (Attribute, 22 | 23) => Some(SparseTensor),
            (Attribute, 15) => Some(Type),
            (Tensor, 3 | 13) => Some(Leaf),
            (SparseTensor, 1 | 2) => Some(Tensor),
            (ValueInfo, 2) => Some(Type),
            (Type, 1) => Some(TensorType),
            (TensorType, 2) => Some(Shape),
            (Shape, 1) => Some(Leaf),
            (Annotation, 2) => Some(Leaf),
            (Training, 1 | 2) => Some(Graph),
            (Training, 3 | 4) => Some(Leaf),
            (Function, 7) => Some(Node),
            (Function, 9) => Some(Leaf),
            _ => None,
        }
    }

    /// Whether field `tag` is a list of integers, of which each byte may decode to eight.
    fn integers(self, tag: u64) -> bool {
        matches!(
            (self, tag),
            (Message::Tensor, 1 | 5 | 7 | 11) | (Message::Attribute, 8)
        )
    }
}

/// Walks the fields of the model in `bytes`, in time and memory bounded by its length.
///
/// # Errors
/// The reason, where the bytes are no protobuf or have too many fields.
pub fn check_fields(bytes: &[u8]) -> Result<(), String> {
    let mut left = MAX_FIELDS;
    walk(bytes, Message::Model, MAX_DEPTH, &mut left)
}

fn walk(mut bytes: &[u8], message: Message, depth: usize, left: &mut usize) -> Result<(), String> {
    let depth = depth
        .checked_sub(1)
        .ok_or_else(|| format!("messages nested more than {MAX_DEPTH} deep"))?;
    while !bytes.is_empty() {
        take(left, 1)?;
        let key = varint(&mut bytes)?;
        let skip = match key & 7 {
            0 => {
                varint(&mut bytes)?;
                0
            }
            1 => 8,
            2 => usize::try_from(varint(&mut bytes)?).unwrap_or(usize::MAX),
            5 => 4,
            other => return Err(format!("a field of wire type {other}")),
        };
        let (content, rest) = bytes
            .split_at_checked(skip)
            .ok_or("a field that runs past the end")?;
        match (key & 7, message.field(key >> 3)) {
            (2, Some(inner)) => walk(content, inner, depth, left)?,
            (2, None) if message.integers(key >> 3) => take(left, content.len())?,
            _ => {}
        }
        bytes = rest;
    }
    Ok(())
}

/// Counts `count` fields, or integers of a list.
fn take(left: &mut usize, count: usize) -> Result<(), String> {
    *left = left
        .checked_sub(count)
        .ok_or_else(|| format!("more than {MAX_FIELDS} fields"))?;
    Ok(())
}

fn varint(bytes: &mut &[u8]) -> Result<u64, &'static str> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes
            .split_first()
            .ok_or("a number that runs past the end")?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(value);
        }
    }
    Err("a number of more than 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;
    use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

    fn model(graph: GraphProto) -> Vec<u8> {
        ModelProto {
            graph: Some(graph),
            ..Default::default()
        }
        .encode_to_vec()
    }

    #[test]
    fn many_empty_nodes_are_refused_before_they_are_decoded() {
        let few = model(GraphProto {
            node: vec![NodeProto::default(); 1_000],
            ..Default::default()
        });
        assert_eq!(check_fields(&few), Ok(()));
        let many = model(GraphProto {
            node: vec![NodeProto::default(); MAX_FIELDS],
            ..Default::default()
        });
        assert_eq!(check_fields(&many), Err("more than 100000 fields".into()));
    }

    #[test]
    fn long_lists_of_integers_are_refused_before_they_are_decoded() {
        let bytes = |tensor| {
            model(GraphProto {
                initializer: vec![tensor],
                ..Default::default()
            })
        };
        let dims = TensorProto {
            dims: vec![1; MAX_FIELDS],
            ..Default::default()
        };
        assert_eq!(
            check_fields(&bytes(dims)),
            Err("more than 100000 fields".into())
        );
        let weights = TensorProto {
            raw_data: vec![1; 5 * MAX_FIELDS],
            ..Default::default()
        };
        assert_eq!(check_fields(&bytes(weights)), Ok(()));
    }

    #[test]
    fn deep_graphs_are_refused() {
        let mut graph = GraphProto::default();
        for _ in 0..20 {
            let attribute = AttributeProto {
                g: Some(graph),
                ..Default::default()
            };
            let node = NodeProto {
                attribute: vec![attribute],
                ..Default::default()
            };
            graph = GraphProto {
                node: vec![node],
                ..Default::default()
            };
        }
        assert_eq!(
            check_fields(&model(graph)),
            Err("messages nested more than 32 deep".into())
        );
    }

    #[test]
    fn broken_fields_are_named() {
        assert_eq!(
            check_fields(&[0x3a, 5, 0]),
            Err("a field that runs past the end".into())
        );
        assert_eq!(
            check_fields(&[0x08]),
            Err("a number that runs past the end".into())
        );
        assert_eq!(
            check_fields(&[0xff; 12]),
            Err("a number of more than 64 bits".into())
        );
        assert_eq!(check_fields(&[0x0b]), Err("a field of wire type 3".into()));
        assert_eq!(check_fields(&[]), Ok(()));
    }
}
