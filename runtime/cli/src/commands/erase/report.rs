//! What an erasure did, place by place. Owns how that is told, and whether all of it could be done.

use serde::Serialize;

use crate::output::Output;
use crate::table::Table;

/// What became of one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Part {
    /// `bucket`, `stream`, `note` or `lake`.
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// Keys with a value of theirs; of the stream, events and decisions.
    pub(super) found: u64,
    /// Keys that were removed.
    pub(super) removed: u64,
    /// Whether something is there that should not be.
    pub(super) failed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) note: Option<String>,
}

/// What became of all.
pub(super) struct Report {
    dry_run: bool,
    parts: Vec<Part>,
}

// === impl Part ===

impl Part {
    pub(super) fn bucket(name: &str) -> Self {
        Self { kind: "bucket", name: name.to_owned(), found: 0, removed: 0, failed: false, note: None }
    }

    /// What stays where it is, and why.
    pub(super) fn left(kind: &'static str, name: &str, why: &str) -> Self {
        Self { kind, note: Some(why.to_owned()), ..Self::bucket(name) }
    }

    pub(super) fn noted(bucket: &str, sessions: usize, dry_run: bool) -> Self {
        let noted = if dry_run { "would be noted" } else { "noted" };
        Self::left(
            "note",
            bucket,
            &format!("{noted} for nodes and whoever counts, with the sessions known: {sessions}"),
        )
    }

    pub(super) fn marked(file: &str, dry_run: bool) -> Self {
        Self::left("lake", file, if dry_run { "would be marked" } else { "marked" })
    }

    /// The same, not done.
    pub(super) fn failed(self, why: String) -> Self {
        Self { failed: true, note: Some(why), ..self }
    }
}

// === impl Report ===

impl Report {
    pub(super) fn new(dry_run: bool) -> Self {
        Self { dry_run, parts: Vec::new() }
    }

    /// Adds what was done, to what was done in the same place before.
    pub(super) fn add(&mut self, part: Part) {
        match self.parts.iter_mut().find(|known| known.kind == part.kind && known.name == part.name) {
            Some(known) => {
                known.found += part.found;
                known.removed += part.removed;
                known.failed = part.failed;
                known.note = part.note.or_else(|| known.note.take());
            }
            None => self.parts.push(part),
        }
    }

    /// Keys that were removed.
    pub(super) fn removed(&self) -> u64 {
        self.parts.iter().map(|part| part.removed).sum()
    }

    /// Whether nothing is left that should have gone.
    pub(super) fn is_whole(&self) -> bool {
        !self.parts.iter().any(|part| part.failed)
    }

    pub(super) fn print(&self, output: &Output) -> anyhow::Result<()> {
        if output.is_json() {
            return self.parts.iter().try_for_each(|part| output.json_line(part));
        }
        let mut table =
            Table::new(&["what", "name", "found", if self.dry_run { "would go" } else { "removed" }, "note"]);
        for part in &self.parts {
            let removed = if self.dry_run && part.kind == "bucket" && !part.failed { part.found } else { part.removed };
            let counts =
                if part.kind == "bucket" { [part.found.to_string(), removed.to_string()] } else { Default::default() };
            let [found, removed] = counts;
            table.row([part.kind.to_owned(), part.name.clone(), found, removed, part.note.clone().unwrap_or_default()]);
        }
        output.text_line(table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_again_in_a_place_is_one_line() {
        let mut report = Report::new(false);
        report.add(Part { found: 2, removed: 1, ..Part::bucket("features_user") }.failed("away".into()));
        assert!(!report.is_whole());
        report.add(Part { found: 1, removed: 1, ..Part::bucket("features_user") });
        assert_eq!((report.parts.len(), report.removed(), report.is_whole()), (1, 2, true));
        report.add(Part::left("lake", "", "not looked at"));
        assert!(report.is_whole() && report.parts.len() == 2);
    }
}
