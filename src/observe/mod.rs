//! Reads the world: metrics, alerts, the repository, the sync state. Queries go out; samples, alerts and
//! probe answers come in, with gaps, ages and failures kept visible. It never invents a value, never
//! decides, and writes nothing but its own spool and the facts it may forget.

pub mod alertmanager;
mod blobs;
pub mod calls;
pub mod charts;
pub mod forge_hooks;
pub mod jaeger;
pub mod landing;
pub mod metrics;
pub mod owners;
pub mod past;
pub mod policies;
pub mod prometheus;
pub mod prometheus_wire;
pub mod pushed;
mod releases;
pub mod remote_write;
pub mod repository;
pub mod rivals;
pub mod shards;
pub mod signals;
pub mod sources;
pub mod spool;
pub mod sync_probe;
pub mod watched;
pub mod window;

#[cfg(test)]
mod loopback;
