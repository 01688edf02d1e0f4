//! The services beside NATS at the core. `lake` lands what nodes told as files of Parquet; `dataset` makes rows to train with of
//! those files. Knows the stream by the reader of `selvedge_node` alone.

pub mod dataset;
pub mod lake;
mod table;

pub use table::TableError;
