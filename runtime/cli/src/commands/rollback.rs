//! `selvedge rollback`: drops a channel's canary, or points the channel back. The nodes hold the release before the one they run, so
//! they swap at once.

use selvedge_build::channel::Pointer;
use selvedge_decision::Digest;

use super::deploy::{ChannelArgs, Pointed};
use crate::core::{CoreArgs, block_on};
use crate::output::{Outcome, Output};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Where there is a canary, it is dropped and the release stays. Else, without --release, it goes to the newest release in the channel's history that is not the one it \
    points to now; twice in a row therefore goes back and forth."
)]
pub(crate) struct Args {
    #[command(flatten)]
    to: ChannelArgs,
    /// The release to go back to; a canary ends.
    #[arg(long, value_name = "DIGEST")]
    release: Option<Digest>,
    #[command(flatten)]
    core: CoreArgs,
}

// === impl Args ===

impl Args {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        let key = self.to.key()?;
        block_on(0, async {
            let nats = self.core.connect().await?;
            let channel = self.to.channel();
            let now = self.to.now(&nats).await?;
            let tries = now.pointer.as_ref().filter(|pointer| pointer.canary.is_some());
            let release = match (self.release, tries) {
                (Some(release), _) => release,
                (None, Some(pointer)) => pointer.release,
                (None, None) => {
                    let history = nats.channel_history(channel).await?;
                    let values = history.iter().map(|value| &value.bytes[..]);
                    before(channel, values).ok_or_else(|| {
                        anyhow::anyhow!("channel {channel} has no earlier release to go back to; see `selvedge status`")
                    })?
                }
            };
            self.to.point(&nats, &key, now, Pointed { release, canary: None }, output).await
        })
    }
}

/// The newest release in a channel's values, the newest first, that differs from the first.
fn before<'v>(channel: &str, values: impl Iterator<Item = &'v [u8]>) -> Option<Digest> {
    let mut releases = values.filter_map(|value| Pointer::read(channel, value).ok()).map(|pointer| pointer.release);
    let now = releases.next()?;
    releases.find(|release| *release != now)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use selvedge_build::keys::SigningKey;

    use super::*;

    #[test]
    fn it_goes_to_the_newest_that_differs() {
        let key = SigningKey::generate().unwrap();
        let check = |names: &[&str], expected: Option<&str>| {
            let value = |(i, name): (usize, &&str)| {
                let counter = (names.len() - i) as u64;
                Pointer { release: Digest::of(name.as_bytes()), canary: None, counter, expires_us: 1 }
                    .sign("prod", &key)
            };
            let mut values: Vec<_> = names.iter().enumerate().map(value).collect();
            values.insert(names.len().min(1), b"not a pointer".to_vec());
            let found = before("prod", values.iter().map(|value| &value[..]));
            assert_eq!(found, expected.map(|name| Digest::of(name.as_bytes())), "{names:?}");
        };
        check(&["c", "b", "a"], Some("b"));
        check(&["c", "c", "a"], Some("a"));
        check(&["b", "a", "b"], Some("a"));
        check(&["a"], None);
        check(&["a", "a"], None);
        check(&[], None);
    }
}
