//! What a spool refuses, and what its disk does.

use std::io;

use thiserror::Error;

use super::record::RecordError;

/// Why something was not done.
#[derive(Error, Debug)]
pub enum SpoolError {
    /// Another process, or another [`Spool`](super::Spool) of this one, has the directory.
    #[error("the directory is in use")]
    Locked,
    /// The records would pass the bound of bytes.
    #[error("the spool is full")]
    Full,
    /// One of the records is outside its bounds.
    #[error("no record: {0}")]
    Record(#[from] RecordError),
    /// A segment was written by another version of the program, in a format of its own.
    #[error("segment {number:016x} has format {version}")]
    Version {
        /// The segment's number.
        number: u64,
        /// The version of its format.
        version: u8,
    },
    /// The file system refused.
    #[error("the spool's files: {0}")]
    Io(#[from] io::Error),
}
