//! NBD, as the model sees it. Nothing is durable before a flush or FUA. An attached file lives on
//! although its name goes, and is attached with the size it had then.
use super::{Attached, Reference};
use crate::model::operation::{BlockOperation, cut};
use crate::model::outcome::{Expected, Refusal};

/// `NBD_REP_ERR_UNKNOWN`.
const UNKNOWN_EXPORT: u32 = (1 << 31) | 6;
/// `NBD_REP_ERR_POLICY`.
const POLICY: u32 = (1 << 31) | 2;

impl Reference {
    pub(super) fn block(&mut self, operation: &BlockOperation) -> Expected {
        use BlockOperation as B;
        match operation {
            B::Attach { slot, at } => {
                self.slots[*slot] = None;
                let Some(id) = self.tree.object(at) else {
                    return Expected::Refused(Refusal::Option(UNKNOWN_EXPORT));
                };
                let is_elsewhere = |other: &Attached| other.id == id && other.gateway != self.gateway;
                if self.slots.iter().flatten().any(is_elsewhere) {
                    return Expected::Refused(Refusal::Option(POLICY));
                }
                let size = self.content(id).len() as u64;
                self.slots[*slot] = Some(Attached {
                    id,
                    size,
                    gateway: self.gateway,
                });
                Expected::Number(size)
            }
            B::Detach { slot } => {
                self.slots[*slot] = None;
                Expected::Done
            }
            B::Flush { slot } => {
                if let Some(attached) = self.slots[*slot] {
                    self.flushed(attached);
                }
                Expected::Done
            }
            B::Read { slot, offset, len } => match self.asked(*slot, *offset, *len) {
                Some((attached, offset, len)) => {
                    let content = self.content(attached.id);
                    let from = content.len().min(offset as usize);
                    let to = content.len().min((offset + len) as usize);
                    let mut bytes = content[from..to].to_vec();
                    // The file was cut short through another door since.
                    bytes.resize(len as usize, 0);
                    Expected::Bytes(bytes)
                }
                None => Expected::Done,
            },
            B::Write {
                slot,
                offset,
                body,
                fua,
            } => {
                if let Some((attached, offset, len)) = self.asked(*slot, *offset, body.len as u64) {
                    self.write(attached.id, offset, &body.bytes()[..len as usize]);
                    self.flushed_if(attached, *fua);
                }
                Expected::Done
            }
            B::Zero {
                slot,
                offset,
                len,
                fua,
                ..
            } => {
                if let Some((attached, offset, len)) = self.asked(*slot, *offset, *len) {
                    self.zero(attached.id, offset, len, true);
                    self.flushed_if(attached, *fua);
                }
                Expected::Done
            }
            B::Trim {
                slot,
                offset,
                len,
                fua,
            } => {
                if let Some((attached, offset, len)) = self.asked(*slot, *offset, *len) {
                    self.zero(attached.id, offset, len, false);
                    self.flushed_if(attached, *fua);
                }
                Expected::Done
            }
        }
    }

    /// What a request asks of the export in a slot. `None`: there is none, or nothing is asked.
    fn asked(&self, slot: usize, offset: u64, len: u64) -> Option<(Attached, u64, u64)> {
        let attached = self.slots[slot]?;
        let (offset, len) = cut(attached.size, offset, len);
        (len > 0).then_some((attached, offset, len))
    }

    fn flushed(&mut self, attached: Attached) {
        self.content_is_durable(attached.id);
        self.names_are_durable();
    }

    fn flushed_if(&mut self, attached: Attached, fua: bool) {
        if fua {
            self.flushed(attached);
        }
    }
}
