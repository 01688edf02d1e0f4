//! The feed from a file: whenever it was written, all its lines are the view. Owns when it is read; a broken line is told
//! with its number and the rest is taken.

use selvedge_decision::TimeUs;

use crate::features::feed::{FeedLimits, Stops};
use crate::features::lines::lines;
use crate::features::metrics::ResyncCause;
use crate::features::shard::Condition;
use crate::features::source::{Position, Source, Standing, Update};
use crate::link::LocalLink;
use crate::link::local::features::FileState;

/// After this many rows other tasks get their turn.
const TURN_ROWS: usize = 1_000;
/// Broken lines told one by one; further ones are counted only.
const TOLD_LINES: usize = 20;

/// Looks at the file until it is time to stop. A file that changed is read when it looks the same once more: whoever writes
/// it has come to an end then.
pub(in crate::features) async fn feed(source: &Source, local: &LocalLink, limits: FeedLimits, stops: &mut Stops) {
    let file = local.features_file(&source.name);
    let (mut taken, mut seen): (Option<Look>, Option<Look>) = (None, None);
    loop {
        let asked_us = source.clock.now_us();
        match local.features_state(&source.name).await {
            Err(error) => source.tell(Condition::Waiting, format!("{}: {error}", file.display())),
            Ok(look) => {
                let asked_for = matches!(source.standing(), Standing::MustResync(_));
                let settled = taken.is_none() || seen == Some(look);
                if asked_for || (taken != Some(look) && settled) {
                    taken = read(source, local, asked_us).await.then_some(look);
                }
                if taken == Some(look) {
                    source.proven(asked_us);
                    source.tell(Condition::Live, "");
                }
                seen = Some(look);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(limits.poll_every) => {}
            () = source.again() => {}
            () = stops.stopped() => return,
        }
    }
}

/// What a look at the file tells; none for no file.
type Look = Option<FileState>;

/// Takes the file's rows for the view. `false` when that has to be done once more.
async fn read(source: &Source, local: &LocalLink, now_us: TimeUs) -> bool {
    let file = local.features_file(&source.name);
    let text = match local.features_text(&source.name).await {
        Ok(text) => text,
        Err(error) => {
            source.tell(Condition::Waiting, format!("{}: {error}", file.display()));
            return false;
        }
    };
    source.begin_resync(ResyncCause::First, 0);
    let (mut rows, mut broken) = (0, 0);
    for line in lines(&text) {
        match line {
            Ok(line) => {
                let update = line.json.map_or(Update::Delete, |row| Update::Put { row });
                source.apply(&line.entity, update, now_us);
            }
            Err(error) => {
                broken += 1;
                source.metrics.refused_json.inc();
                if broken <= TOLD_LINES {
                    tracing::warn!("{}:{}: {}; the line is left out", file.display(), error.number, error.why);
                }
            }
        }
        rows += 1;
        if rows % TURN_ROWS == 0 {
            tokio::task::yield_now().await;
        }
    }
    tracing::info!(view = source.name, rows, broken, "features read from {}", file.display());
    source.end_resync(Position { created_us: 0, seq: 0 }).await
}
