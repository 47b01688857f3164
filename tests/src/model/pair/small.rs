//! Operations whose bytes both gateways have: frames so small that they lie in the metadata. What lies in
//! a staging file of one gateway is that gateway's until the network has it, which is the subject of
//! other tests.
use crate::model::operation::{Blob, BlockOperation, Event, FileOperation, ObjectOperation, Operation};

/// Most bytes that one operation writes: a few of them that touch still make a frame that is small.
const MOST: usize = 4000;

fn small(blob: &mut Blob) {
    blob.len = blob.len % MOST + 1;
}

/// The same with fewer bytes; `None` for what cannot be small.
pub(super) fn made_small(operation: &Operation) -> Option<Operation> {
    let mut operation = operation.clone();
    let possible = shrink(&mut operation);
    possible.then_some(operation)
}

fn shrink(operation: &mut Operation) -> bool {
    match operation {
        Operation::Object(ObjectOperation::Multipart { .. }) => return false,
        Operation::Object(
            ObjectOperation::Put { body, .. } | ObjectOperation::AbortMultipart { part: body, .. },
        )
        | Operation::File(FileOperation::Write { body, .. } | FileOperation::Append { body, .. })
        | Operation::Block(BlockOperation::Write { body, .. }) => small(body),
        Operation::Event(Event::KillDuring { operation, .. }) => return shrink(operation),
        _ => {}
    }
    true
}
