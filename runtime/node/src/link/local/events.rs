//! Events of the local link: every lane a file of JSON lines in the directory for output. Owns those files. They grow as
//! long as nobody takes them away; each line names node, epoch, lane and seq, by which a second copy is recognised.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::LocalLink;
use crate::outbox::reader::Reader;
use crate::outbox::{Lane, write_line};

/// How far back the end of a file is searched for the end of its last whole line.
const TAIL_BYTES: u64 = 64 * 1024;

// === impl LocalLink ===

impl LocalLink {
    /// Appends the items of blocks to the lane's file. They are durable when this returns. Blocks on the disk.
    pub fn append_blocks(&self, lane: Lane, blocks: &[Vec<u8>]) -> io::Result<()> {
        let mut reader = Reader::new();
        let mut lines = Vec::new();
        for block in blocks {
            let entries = reader.block(block).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            for entry in entries {
                write_line(&entry, &mut lines)?;
            }
        }
        std::fs::create_dir_all(self.out())?;
        let path = self.out().join(format!("{lane}.jsonl"));
        let fresh = !path.exists();
        let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let whole = whole_lines(&mut file)?;
        file.set_len(whole)?;
        file.seek(SeekFrom::Start(whole))?;
        file.write_all(&lines)?;
        file.sync_data()?;
        if fresh { sync_directory(self.out()) } else { Ok(()) }
    }
}

/// The length up to the end of the last whole line: what follows was cut off by a crash and is told again.
fn whole_lines(file: &mut File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut tail = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(TAIL_BYTES);
        tail.clear();
        file.seek(SeekFrom::Start(start))?;
        Read::by_ref(file).take(end - start).read_to_end(&mut tail)?;
        if let Some(at) = tail.iter().rposition(|&byte| byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
