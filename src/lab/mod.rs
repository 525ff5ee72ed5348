//! The equipment: it starts servers, is their client, and records what happened.

pub mod client;
pub mod kernel;
pub mod port;
pub mod process;
pub mod recording;
pub mod server;
pub mod wait;
