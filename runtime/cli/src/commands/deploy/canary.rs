//! A canary as it is asked for: its share, whom it has and where. Owns what is refused before anything is written.

use selvedge_build::channel::{Canary, Labels, Pointer, labels_problem};
use selvedge_decision::assign::SLOTS;
use selvedge_decision::{Digest, Plan};

use crate::output::Usage;

/// How many hex digits of a release its canary is salted with, unless told otherwise.
const SALT_DIGITS: usize = 16;

/// The flags that make a release a canary.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Canary")]
pub(super) struct CanaryArgs {
    /// Decide for this share of the subjects only, such as 5% or 0.5%, beside the release that runs.
    #[arg(long, value_name = "SHARE", value_parser = share)]
    pub(super) share: Option<u16>,
    /// Only on nodes whose label NAME is VALUE; all of several.
    #[arg(long = "where", value_name = "NAME=VALUE", value_parser = label, requires = "share")]
    on: Vec<(String, String)>,
    /// What subjects are hashed with; the digest's first digits when not said, so that each release tries other people first.
    #[arg(long, value_name = "TEXT", requires = "share")]
    salt: Option<String>,
}

// === impl CanaryArgs ===

impl CanaryArgs {
    /// The canary that was asked for, beside what the channel says `now`.
    pub(super) fn of(&self, release: Digest, share_bp: u16, now: &Pointer) -> anyhow::Result<Canary> {
        if release == now.release {
            anyhow::bail!("{release} is what the channel points to already: there is nothing to try");
        }
        let salt = self.salt.clone().unwrap_or_else(|| release.hex().chars().take(SALT_DIGITS).collect());
        let on: Labels = self.on.iter().cloned().collect();
        if on.len() < self.on.len() {
            return Err(Usage("--where names a label twice: a node has one value of each".into()).into());
        }
        let canary = Canary { release, share_bp, salt, on };
        canary.problem().map_or(Ok(canary), |why| Err(Usage(why).into()))
    }
}

/// A canary as it is told behind the release that runs.
pub(super) fn text(canary: &Canary) -> String {
    let on = if canary.on.is_empty() { String::new() } else { format!(" where {}", canary.labels_text()) };
    format!(", and to {} for {} of the subjects{on}", canary.release, canary.share_text())
}

pub(super) fn nothing_beside(channel: &str) -> anyhow::Error {
    anyhow::anyhow!("channel {channel} has no release that a canary could run beside: deploy one without --share first")
}

/// Every placement of what runs is one of the canary's: who asks for it must not get an error instead of a decision.
pub(super) fn decides_all(running: &Plan, canary: &Plan) -> anyhow::Result<()> {
    let missing = running.placements.keys().find(|key| !canary.placements.contains_key(*key));
    match missing {
        Some(key) => anyhow::bail!(
            "it has no placement {key:?}, which the running release has: its share of the subjects would get errors; deploy it for \
             all when nobody asks for that placement any more"
        ),
        None => Ok(()),
    }
}

/// A share such as `5%`, in hundredths of a percent.
fn share(text: &str) -> Result<u16, String> {
    let expected = || "expected a share such as 5%, above 0% and at most 100%, in steps of 0.01%".to_owned();
    let percent = text.strip_suffix('%').ok_or_else(expected)?.trim();
    let (whole, part) = percent.split_once('.').unwrap_or((percent, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || part.len() > 2 {
        return Err(expected());
    }
    let whole: u32 = whole.parse().map_err(|_| expected())?;
    let part: u32 = format!("{part:0<2}").parse().map_err(|_| expected())?;
    let share_bp = whole.checked_mul(100).and_then(|whole| whole.checked_add(part));
    let share_bp = share_bp.filter(|share_bp| (1..=SLOTS).contains(share_bp));
    share_bp.and_then(|share_bp| u16::try_from(share_bp).ok()).ok_or_else(expected)
}

fn label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE, such as region=eu")?;
    let label = (name.to_owned(), value.to_owned());
    labels_problem(&[label.clone()].into()).map_or(Ok(label), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_in_hundredths_of_a_percent() {
        let check = |text: &str, expected: Option<u16>| assert_eq!(share(text).ok(), expected, "{text:?}");
        check("5%", Some(500));
        check("0.5%", Some(50));
        check("0.01%", Some(1));
        check("12.34 %", Some(1_234));
        check("100%", Some(10_000));
        for text in ["0%", "0.001%", "100.01%", "5", "%", ".5%", "5.%", "-5%", "+5%", "1e1%", "99999999999%", "0.00%"] {
            check(text, None);
        }
    }
}
