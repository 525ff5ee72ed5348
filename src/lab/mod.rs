//! The equipment: it starts servers, is their client, and records and draws what happened.

pub mod client;
pub mod figure;
pub mod kernel;
pub mod port;
pub mod process;
pub mod recording;
pub mod server;
pub mod timeline;
pub mod wait;
