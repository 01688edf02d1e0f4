//! The command line: every command and the flags they share. Owns names and help; what a command does stands in its own
//! file under `commands`.

use clap::{Parser, Subcommand};
use selvedge_decision::definition::Span;

use crate::commands::{
    bandits, bench, build, check, completions, core, deploy, dev, diff, doctor, erase, eval, features, ids, keys, node,
    promote, release, replay, rollback, status, tail, test, why,
};
use crate::output::{Outcome, Output};

/// Decides at the edge: runs nodes, packs and deploys releases, looks at what they did.
#[derive(Debug, Parser)]
#[command(name = "selvedge", version, propagate_version = true, max_term_width = 120)]
#[command(after_help = "Exit codes: 0 ok, 1 findings or a failure, 2 usage.")]
pub(crate) struct Cli {
    /// Print data as JSON, one object a line.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// A span of time, such as 60s or 400d.
pub(crate) fn span(text: &str) -> Result<Span, String> {
    let span = Span::try_from(text.to_owned())?;
    if span.us() > 0 { Ok(span) } else { Err("must be above 0".into()) }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node.
    Node(node::Args),
    /// Run a node on a folder, with no server; it swaps when a file is saved.
    Dev(dev::Args),
    /// Make a module of a model file, of rules or of a guest.
    Build(build::Args),
    /// Pack, inspect and sign releases.
    #[command(subcommand)]
    Release(release::Command),
    /// Point a channel to a release.
    Deploy(deploy::Args),
    /// Make a channel's canary its release.
    Promote(promote::Args),
    /// Drop a channel's canary, or point the channel back to the release before.
    Rollback(rollback::Args),
    /// Show the channels and what every node runs.
    Status(status::Args),
    /// Write and read the rows of views.
    #[command(subcommand)]
    Features(features::Command),
    /// Remove what is kept of a person.
    Erase(erase::Args),
    /// What policies learned, and the switch that keeps them from exploring.
    #[command(subcommand)]
    Bandits(bandits::Command),
    /// Make the key that hashes ids of people, and hash one.
    #[command(subcommand)]
    Ids(ids::Command),
    /// Make, show and revoke the keys of those who may call a node.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Prepare the core, and run the services that stand beside NATS there.
    #[command(subcommand)]
    Core(core::Command),
    /// Look through rules, modules and release folders for mistakes.
    Check(check::Args),
    /// Run the tests of rules and of release folders.
    Test(test::Args),
    /// Run a module on rows.
    Eval(eval::Args),
    /// Measure what a module costs.
    Bench(bench::Args),
    /// Show events, decisions and rewards as they reach the core, or as a node keeps them.
    Tail(tail::Args),
    /// Say how a recorded decision came about.
    Why(why::Args),
    /// Decide recorded decisions again and compare.
    Replay(replay::Args),
    /// Compare two releases on recorded decisions.
    Diff(diff::Args),
    /// Check this machine and the core for what a node needs.
    Doctor(doctor::Args),
    /// Print what a shell needs to complete commands.
    Completions(completions::Args),
}

// === impl Command ===

impl Command {
    pub(crate) fn run(self, output: &Output) -> anyhow::Result<Outcome> {
        match self {
            Self::Node(args) => args.run(output),
            Self::Dev(args) => args.run(output),
            Self::Build(args) => args.run(output),
            Self::Release(command) => command.run(output),
            Self::Deploy(args) => args.run(output),
            Self::Promote(args) => args.run(output),
            Self::Rollback(args) => args.run(output),
            Self::Status(args) => args.run(output),
            Self::Features(command) => command.run(output),
            Self::Erase(args) => args.run(output),
            Self::Bandits(command) => command.run(output),
            Self::Ids(command) => command.run(output),
            Self::Keys(command) => command.run(output),
            Self::Core(command) => command.run(output),
            Self::Check(args) => args.run(output),
            Self::Test(args) => args.run(output),
            Self::Eval(args) => args.run(output),
            Self::Bench(args) => args.run(output),
            Self::Tail(args) => args.run(output),
            Self::Why(args) => args.run(output),
            Self::Replay(args) => args.run(output),
            Self::Diff(args) => args.run(output),
            Self::Doctor(args) => args.run(output),
            Self::Completions(args) => args.run(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_is_read_as_documented() {
        let check = |line: &str, reads: bool| {
            let parsed = Cli::try_parse_from(line.split(' '));
            assert_eq!(parsed.is_ok(), reads, "{line}: {parsed:?}");
        };
        check("selvedge node", true);
        check("selvedge node --config selvedge.toml --set http.listen=127.0.0.1:0 --set log.level=debug", true);
        check("selvedge dev shop --http 127.0.0.1:0 --admin 127.0.0.1:0", true);
        check("selvedge dev shop --http 7070", false);
        check("selvedge release pack shop --key ops.key -o out", true);
        check("selvedge release pack shop", false);
        check("selvedge release inspect x.release --trust a.pub --trust b.pub --json", true);
        check("selvedge release keygen ops --dir keys", true);
        check("selvedge --json deploy shop --to prod --key ops.key --expires 30d --wait", true);
        check("selvedge deploy shop --to prod --key ops.key --expires soon", false);
        check("selvedge deploy shop --to prod --key ops.key --expires 0s", false);
        check("selvedge deploy shop --key ops.key", false);
        check("selvedge rollback --to prod --key ops.key --wait --timeout 5s", true);
        check("selvedge rollback --to prod --key ops.key --release sha256:no", false);
        check("selvedge status --nats nats://10.0.0.1:4222 --creds x.creds --prefix shop-", true);
        check("selvedge features put item sku-1 {\"price\":1} --json", true);
        check("selvedge features get item sku-1 --json", true);
        check("selvedge features push rows.jsonl --view item", true);
        check("selvedge features backfill --release shop --view person --at 2026-11-23T08:15:30Z --json", true);
        check("selvedge features backfill --view person", false);
        check("selvedge erase u-42 --ids-key ids.key --session s-1 --session s-2 --lake lake --dry-run --json", true);
        check("selvedge erase", false);
        check("selvedge bandits show --json", true);
        check("selvedge bandits off home-hero", true);
        check("selvedge bandits", false);
        check("selvedge core bandits --decisions 1000", true);
        check("selvedge ids keygen ids.key", true);
        check("selvedge ids hash u-42 --key ids.key --json", true);
        check("selvedge ids hash u-42", false);
        check(
            "selvedge keys create checkout --scope decide --scope events --expires 90d --file keys.jsonl --json",
            true,
        );
        check(
            "selvedge keys create web --publishable --origin https://shop.example --placement home-hero --rate 5",
            true,
        );
        check("selvedge keys create web --publishable", false);
        check("selvedge keys create web", false);
        check("selvedge keys create web --scope root", false);
        check("selvedge keys create web --scope admin --origin https://shop.example", false);
        check("selvedge keys create web --scope admin --publishable --origin https://shop.example", false);
        check("selvedge keys list --config selvedge.toml", true);
        check("selvedge keys revoke 0a1b2c3d4e5f --file keys.jsonl", true);
        check("selvedge keys revoke", false);
        check("selvedge features push rows.jsonl --view user --release shop --ids-key ids.key", true);
        check("selvedge features push rows.jsonl --view user --ids-key ids.key", false);
        check("selvedge core permissions edge-1 --json", true);
        check("selvedge core permissions --features shop", true);
        check("selvedge core permissions", false);
        check("selvedge core permissions edge-1 --features shop", false);
        check("selvedge core features --channel prod --trust ops.pub --part 2/4 --json", true);
        check("selvedge core features --release shop --channel prod", false);
        check("selvedge core features --part 5/4", false);
        check("selvedge build hero.json -o hero.wasm --json", true);
        check("selvedge build hero.json --output margin --features names.txt --name hero --rows 64 --no-browser", true);
        check("selvedge build hero.json --output logit", false);
        check("selvedge build hero.json --print-sidecar", true);
        check("selvedge build hero.json --print-sidecar -o x.wasm", false);
        check("selvedge build", false);
        check("selvedge bench m.wasm --rows rows.jsonl --candidates 200 --json", true);
        check("selvedge bench m.wasm --candidates 0", false);
        let to = "--to prod --key ops.key";
        check(&format!("selvedge deploy shop {to} --share 5% --where region=eu --where zone=b --salt a --wait"), true);
        check(&format!("selvedge deploy shop {to} --share 0%"), false);
        check(&format!("selvedge deploy shop {to} --share 0.05"), false);
        check(&format!("selvedge deploy shop {to} --where region=eu"), false);
        check(&format!("selvedge deploy shop {to} --share 5% --where region"), false);
        check(&format!("selvedge promote {to} --wait --json"), true);
        check("selvedge promote --to prod", false);
        check("selvedge completions zsh", true);
        check("selvedge completions cmd", false);
        check("selvedge check hero.jdm.json boost.csv shop m.wasm --json -v", true);
        check("selvedge check", false);
        check("selvedge test shop --coverage --junit out.xml --watch", true);
        check("selvedge test", false);
        check("selvedge eval m.wasm --rows rows.jsonl --json", true);
        check("selvedge tail --lane decisions --follow --from start", true);
        check("selvedge tail --lane decision", false);
        check("selvedge tail --dir data --follow", false);
        check("selvedge replay nats --release a.release --release b.release --json", true);
        check("selvedge replay nats --since 2026-11-26 --until 2026-11-27", true);
        check("selvedge replay", false);
        check("selvedge replay nats --since yesterday", false);
        check("selvedge why 019ac2e5-7c00-7abc-8def-0123456789ab data/outbox --release a.release --json", true);
        check("selvedge why 019ac2e5-7c00-7abc-8def-0123456789ab", true);
        check("selvedge why nobody", false);
        check("selvedge diff a.release b.release --replay nats --reward purchase=7d --reward select_item --json", true);
        check("selvedge diff a.release b.release --replay lake --since 2026-11-26", true);
        check("selvedge diff a.release b.release", false);
        check("selvedge diff a.release b.release --replay nats --reward purchase=8d", false);
        check("selvedge deploy shop --to prod --key ops.key --gate gate.toml --replay lake --since 2026-11-26", true);
        check("selvedge deploy shop --to prod --key ops.key --replay lake", false);
        check("selvedge tail --subject u-42 --ids-key ids.key --lane decisions", true);
        check("selvedge tail --ids-key ids.key", false);
        check("selvedge doctor --config selvedge.toml --json", true);
        check("selvedge", false);
        #[cfg(feature = "lake")]
        {
            check("selvedge core lake --to lake --once", true);
            check("selvedge core lake --to s3://bucket/lake --every 5m --rows 50000 --keep 400d", true);
            check("selvedge core lake", false);
            check("selvedge core lake --to lake --rows 0", false);
            check("selvedge core lake compact --to lake --day 2026-11-26 --day 2026-11-27", true);
            check("selvedge core lake compact --to lake", false);
            check(
                "selvedge core dataset lake --release a.release --placement p --from 2026-11-26 --out rows.parquet",
                true,
            );
            check(
                "selvedge core dataset lake --release a.release --placement p --from yesterday --out rows.csv",
                false,
            );
        }
    }
}
