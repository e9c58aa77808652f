use clap::FromArgMatches;

use super::*;

const PROGRAM: Program = Program { name: "test-controller", version: "v0", concurrent: 3, gates: &[] };

fn parse(flags: &[&str]) -> Result<HostArgs, clap::Error> {
    let line = std::iter::once("test-controller").chain(flags.iter().copied());
    let matches = command::<HostArgs>(PROGRAM).try_get_matches_from(line)?;
    HostArgs::from_arg_matches(&matches)
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let args = parse(&[]).unwrap();
    assert_eq!(args.metrics_addr, ":8080");
    assert_eq!(args.health_addr, ":9440");
    assert_eq!(args.events_addr, "");
    assert_eq!(args.concurrent, Some(3));
    assert_eq!(args.requeue_dependency.0, Duration::from_secs(30));
    assert_eq!(args.leader_election_lease_duration.0, Duration::from_secs(35));
    assert_eq!(args.leader_election_renew_deadline.0, Duration::from_secs(30));
    assert_eq!(args.leader_election_retry_period.0, Duration::from_secs(5));
    assert_eq!(args.watch_configs_label_selector, "reconcile.fluxcd.io/watch=Enabled");
    assert_eq!(
        (args.token_cache_max_size, args.token_cache_max_duration.0),
        (100, Duration::from_secs(3600))
    );
    assert_eq!(args.pacing(), Pacing::default());
    assert_eq!(args.scope(Some("flux-system")), WatchScope::default());
    assert!(!args.enable_leader_election && args.leader_election_release_on_cancel);
}

#[test]
fn booleans_follow_the_habits_of_go() {
    for (flags, expected) in [
        (&["--watch-all-namespaces"][..], true),
        (&["--watch-all-namespaces=true"], true),
        (&["--watch-all-namespaces=false"], false),
        (&["--watch-all-namespaces=0"], false),
        (&["--watch-all-namespaces=false", "--watch-all-namespaces"], true),
    ] {
        assert_eq!(parse(flags).unwrap().watch_all_namespaces, expected, "{flags:?}");
    }
    assert!(parse(&["--watch-all-namespaces=yes"]).is_err());
}

#[test]
fn values_come_with_or_without_an_equals_sign_and_lists_with_commas() {
    let args =
        parse(&["--log-level", "debug", "--log-encoding=console", "--feature-gates=A=true,B=false"]).unwrap();
    assert_eq!((args.log_level, args.log_encoding), (Level::Debug, Encoding::Console));
    assert_eq!(args.feature_gates, ["A=true", "B=false"]);
    assert_eq!(parse(&["--log-level=info", "--log-level=error"]).unwrap().log_level, Level::Error);
}

#[test]
fn an_unknown_flag_ends_with_two_and_help_with_zero() {
    for (flag, code) in [("--nope", 2), ("--concurrent=x", 2), ("--help", 0), ("--version", 0)] {
        assert_eq!(parse(&[flag]).unwrap_err().exit_code(), code, "{flag}");
    }
}

#[test]
fn contradictions_are_refused() {
    for (flags, namespace, expected) in [
        (&["--interval-jitter-percentage=100"][..], None, Err(Error::Jitter(100))),
        (&["--interval-jitter-percentage=99"], None, Ok(())),
        (&["--watch-all-namespaces=false"], None, Err(Error::Namespace)),
        (&["--watch-all-namespaces=false"], Some("x"), Ok(())),
        (&["--enable-leader-election", "--leader-election-lease-duration=20s"], None, Err(Error::Lease)),
    ] {
        assert_eq!(parse(flags).unwrap().validate(namespace), expected, "{flags:?}");
    }
}

#[test]
fn the_scope_is_one_namespace_when_asked_for() {
    let args = parse(&["--watch-all-namespaces=false", "--watch-label-selector=shard in (a, b)"]).unwrap();
    let expected =
        WatchScope { namespace: Some("x".to_owned()), selector: Some("shard in (a, b)".to_owned()) };
    assert_eq!(args.scope(Some("x")), expected);
}

#[test]
fn what_gos_controllers_pass_over_keeps_nobody_from_starting() {
    let args =
        parse(&["--log-level=warn", "--log-encoding", "xml", "stray", "--concurrent=7", "--"]).unwrap();
    assert_eq!((args.log_level, args.log_encoding), (Level::Info, Encoding::Json));
    assert_eq!((args.stray, args.concurrent), (vec!["stray".to_owned()], Some(7)));
}
