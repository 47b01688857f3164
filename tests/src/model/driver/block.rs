//! Operations of the NBD door.
use std::net::SocketAddr;

use block_frontend::client::Client;
use block_frontend::proto::constants::command_flag;
use block_frontend::{Error, name};

use crate::model::operation::{BlockOperation, SLOTS, cut};
use crate::model::outcome::Outcome;

/// Carries an operation out on the exports in `slots`.
pub async fn execute(
    address: SocketAddr,
    slots: &mut [Option<Client>; SLOTS],
    operation: &BlockOperation,
) -> Outcome {
    match attempt(address, slots, operation).await {
        Ok(outcome) => outcome,
        Err(Error::OptionRefused { code, .. }) => Outcome::Option(code),
        Err(error) => Outcome::Broken(error.to_string()),
    }
}

async fn attempt(
    address: SocketAddr,
    slots: &mut [Option<Client>; SLOTS],
    operation: &BlockOperation,
) -> Result<Outcome, Error> {
    use BlockOperation as B;
    let (B::Attach { slot, .. }
    | B::Read { slot, .. }
    | B::Write { slot, .. }
    | B::Zero { slot, .. }
    | B::Trim { slot, .. }
    | B::Flush { slot }
    | B::Detach { slot }) = operation;
    let slot = &mut slots[*slot];
    if let B::Attach { at, .. } = operation {
        if let Some(client) = slot.take() {
            client.disconnect().await?;
        }
        let client = Client::attach(address, name::encode(at.full().as_bytes()).as_bytes()).await?;
        let size = client.size();
        *slot = Some(client);
        return Ok(Outcome::Number(size));
    }
    if let B::Detach { .. } = operation {
        if let Some(client) = slot.take() {
            client.disconnect().await?;
        }
        return Ok(Outcome::Done);
    }
    let Some(client) = slot else {
        return Ok(Outcome::Done);
    };
    let size = client.size();
    match *operation {
        B::Attach { .. } | B::Detach { .. } => {}
        B::Flush { .. } => client.flush().await?,
        B::Read { offset, len, .. } => {
            let (offset, len) = cut(size, offset, len);
            if len > 0 {
                return Ok(Outcome::Bytes(client.read(offset, len as u32).await?.to_vec()));
            }
        }
        B::Write {
            offset, body, fua, ..
        } => {
            let (offset, len) = cut(size, offset, body.len as u64);
            if len > 0 {
                client.write(offset, &body.bytes()[..len as usize], fua).await?;
            }
        }
        B::Zero {
            offset,
            len,
            allocate,
            fua,
            ..
        } => {
            let (offset, len) = cut(size, offset, len);
            if len > 0 {
                let flags = if allocate { command_flag::NO_HOLE } else { 0 }
                    | if fua { command_flag::FUA } else { 0 };
                client.write_zeroes(offset, len as u32, flags).await?;
            }
        }
        B::Trim { offset, len, fua, .. } => {
            let (offset, len) = cut(size, offset, len);
            if len > 0 {
                client.trim(offset, len as u32, fua).await?;
            }
        }
    }
    Ok(Outcome::Done)
}
