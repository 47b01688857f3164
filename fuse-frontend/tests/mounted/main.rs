//! The door as a process sees it: real mounts, real system calls, a namespace in a directory of its
//! own without a network behind it. Without `/dev/fuse` or the right to mount, each test says so and
//! ends.
mod append;
mod attributes;
mod directories;
mod doors;
mod durability;
mod files;
mod levels;
mod lifecycle;
mod links;
mod mapping;
mod model;
mod names;
mod object_lock;
mod rename;
mod snapshots;
mod sparse;
mod support;
mod two_gateways;
mod xattrs;
