//! The chain: blocks on disk, the state at recent blocks, the pool, and who makes blocks when.
//!
//! [`Node`] is shared by the RPC server, the miners of this process and the admin API. A thread
//! of its own makes blocks ([`author`]): execution reads the state under a shared lock, the block
//! is synced to the log with no lock held, and only then becomes visible.

pub mod author;
mod fork;
pub mod header;
mod log;
mod node;
pub mod pool;
mod submit;
mod view;

pub use crate::runtime::execute::Operation;
pub use node::{DEFAULT_STATE_BLOCKS, Head, Node, NodeConfig, Sealing};
pub use submit::SubmitError;
pub use view::View;
