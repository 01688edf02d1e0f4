//! The archive of a release file: a tar of plain files whose every byte follows from their names and contents, so that one
//! release has one form. Owns writing it and reading it back from hostile bytes: what is not exactly as it would have been
//! written is refused, which leaves links, devices, long names, sparse files, padding and trailing data no way in.

use std::collections::BTreeSet;

use super::{BadRelease, Limits};

const BLOCK: usize = 512;

/// The longest path, in bytes: what fits a plain tar header.
pub(super) const MAX_PATH_BYTES: usize = 100;

/// Writes `files`, in their order.
pub(super) fn write<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (path, content) in files {
        bytes.extend_from_slice(&header(path, content.len() as u64));
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    }
    bytes.resize(bytes.len() + 2 * BLOCK, 0);
    bytes
}

/// Reads what [`write`] wrote: path and content of each file, in their order.
pub(super) fn read<'b>(bytes: &'b [u8], limits: &Limits) -> Result<Vec<(String, &'b [u8])>, BadRelease> {
    if bytes.len() as u64 > limits.max_total_bytes {
        return Err(BadRelease::TooLarge {
            what: "the release file".into(),
            size: bytes.len() as u64,
            limit: limits.max_total_bytes,
            name: "max_total_bytes",
        });
    }
    let mut files = Vec::new();
    let mut seen = BTreeSet::new();
    let mut rest = bytes;
    loop {
        let (head, after) = rest.split_at_checked(BLOCK).ok_or_else(|| torn(bytes, rest))?;
        if head.iter().all(|byte| *byte == 0) {
            return match after.len() == BLOCK && after.iter().all(|byte| *byte == 0) {
                true => Ok(files),
                false => Err(broken(bytes, rest, "the archive's end is not its last two blocks")),
            };
        }
        let (path, size) = name_and_size(head).ok_or_else(|| broken(bytes, rest, "not a header of a plain file"))?;
        if files.len() == limits.max_files {
            return Err(BadRelease::TooManyFiles { limit: limits.max_files });
        }
        if size > limits.max_file_bytes {
            return Err(BadRelease::TooLarge {
                what: path,
                size,
                limit: limits.max_file_bytes,
                name: "max_file_bytes",
            });
        }
        if header(&path, size)[..] != *head {
            return Err(broken(bytes, rest, "the header is not as this runtime writes it"));
        }
        if !seen.insert(path.clone()) {
            return Err(BadRelease::Form(format!("{path:?} stands twice")));
        }
        let padded = (size as usize).next_multiple_of(BLOCK);
        let (content, after) = after.split_at_checked(padded).ok_or_else(|| torn(bytes, rest))?;
        let (content, padding) = content.split_at(size as usize);
        if padding.iter().any(|byte| *byte != 0) {
            return Err(broken(bytes, rest, "there is data between two files"));
        }
        files.push((path, content));
        rest = after;
    }
}

/// The header of a plain file: mode 0644, no owner, no time.
fn header(path: &str, size: u64) -> [u8; BLOCK] {
    let mut header = tar::Header::new_ustar();
    let name = &mut header.as_old_mut().name;
    let fits = path.len().min(name.len());
    name[..fits].copy_from_slice(&path.as_bytes()[..fits]);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    *header.as_bytes()
}

fn name_and_size(head: &[u8]) -> Option<(String, u64)> {
    let header = tar::Header::from_byte_slice(head.get(..BLOCK)?);
    let name = header.as_old().name;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let path = std::str::from_utf8(&name[..end]).ok()?;
    Some((path.to_owned(), header.entry_size().ok()?))
}

fn torn(bytes: &[u8], rest: &[u8]) -> BadRelease {
    broken(bytes, rest, "the file ends in the middle")
}

fn broken(bytes: &[u8], rest: &[u8], why: &str) -> BadRelease {
    BadRelease::Form(format!("at byte {}: {why}", bytes.len() - rest.len()))
}
