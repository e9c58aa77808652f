//! What expressions mean, as tables.

use serde_json::{Value, json};
use sluice_expr::{Error, Expression, Health, MAX_TEXT, Rule, Rules};

fn object() -> Value {
    json!({
        "apiVersion": "example.org/v1",
        "kind": "Widget",
        "metadata": {"name": "a", "generation": 2, "labels": {"tier": "gold", "app.version": "v2"}},
        "spec": {"replicas": 3, "zones": ["a", "b"], "ratio": 0.5, "huge": 18_446_744_073_709_551_615_u64},
        "status": {"observedGeneration": 2, "phase": "Ready", "replicas": 3,
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "Synced", "status": "False"}]}
    })
}

fn holds(text: &str) -> Result<bool, Error> {
    let object = object();
    let fields = object.as_object().into_iter().flatten();
    Expression::parse(text)?.holds(fields.map(|(name, value)| (name.as_str(), value)))
}

#[test]
fn expressions_mean_what_they_mean_in_flux() {
    for (text, expected) in [
        ("status.phase == 'Ready'", true),
        ("spec.replicas == 3", true),
        ("spec.replicas == 3.0", true),
        ("spec.replicas == uint(3)", true),
        ("spec.replicas + 1 > 3", true),
        ("spec.ratio < 1", true),
        ("spec.replicas - status.replicas == 0", true),
        ("spec.huge > 1.0", true),
        ("status.conditions.exists(c, c.type == 'Ready' && c.status == 'True')", true),
        ("status.conditions.all(c, c.status == 'True')", false),
        ("status.conditions.filter(c, c.type == 'Ready').all(c, c.status == 'True')", true),
        ("status.conditions.map(c, c.type) == ['Ready', 'Synced']", true),
        ("metadata.labels['tier'] == 'gold'", true),
        ("metadata.labels['app.version'].startsWith('v')", true),
        ("has(status.phase) && !has(status.reason)", true),
        ("status.?reason.orValue('none') == 'none'", true),
        ("status.?phase.hasValue()", true),
        ("sets.contains(spec.zones, ['a'])", true),
        ("sets.contains(['a'], spec.zones)", false),
        ("sets.equivalent(spec.zones, ['b', 'a', 'a'])", true),
        ("sets.intersects(spec.zones, ['z', 'b'])", true),
        ("sets.intersects(spec.zones, [])", false),
        ("status.phase.lowerAscii() == 'ready'", true),
        ("'a,b'.split(',') == spec.zones", true),
        ("spec.zones.join('-') == 'a-b'", true),
        ("'aXbX'.replace('X', '--') == 'a--b--'", true),
        ("'aXbX'.replace('X', '-', 1) == 'a-bX'", true),
        ("'aXbX'.replace('X', '-', -1) == 'a-b-'", true),
        ("'ab'.replace('', '_') == '_a_b_'", true),
        ("spec.zones.join() == 'ab'", true),
        ("['a'] + spec.zones == ['a', 'a', 'b']", true),
        ("spec.zones.map(z, z + '!') == ['a!', 'b!']", true),
        ("'%s=%d'.format(['a', 3]) == 'a=3'", true),
        ("base64.encode(b'hello') == 'aGVsbG8='", true),
        ("status.phase.matches('^R.*y$')", true),
        ("'a\\u00e9'.size() == 2", true),
        ("timestamp('2026-01-01T00:00:00Z').getFullYear() == 2026", true),
        ("duration('90s') == duration('1m30s')", true),
        ("type(spec.replicas) == int", true),
    ] {
        assert_eq!(holds(text), Ok(expected), "{text}");
    }
}

#[test]
fn an_evaluation_that_fails_names_the_cause_but_no_value() {
    for (text, message) in [
        ("status.missing == 1", "no such key: missing"),
        ("nowhere.x == 1", "undeclared reference to 'nowhere' (in container '')"),
        ("1 / 0 == 1", "division by zero"),
        ("timestamp(status.phase) == timestamp(status.phase)", "error in function timestamp"),
    ] {
        let expected = Error::Evaluate { text: text.into(), message: message.into() };
        assert_eq!(holds(text), Err(expected), "{text}");
    }
    let error = holds("status.phase + 1 == 2").expect_err("a string and a number do not add");
    assert!(!error.to_string().contains("Ready"), "{error}");
    assert_eq!(holds("status.phase"), Err(Error::Result("status.phase".into())));
    assert!(!error.is_configuration());
}

#[test]
fn what_is_not_cel_or_too_large_is_a_configuration_error() {
    let nested = "spec.zones.all(a, spec.zones.all(b, spec.zones.all(c, spec.zones.all(d, \
                  spec.zones.all(e, a == e)))))";
    for text in [
        "status.phase ==",
        "status.phase = 'x'",
        "",
        nested,
        &"(".repeat(2000),
        &format!("{}1{}", "[".repeat(40), "]".repeat(40)),
        &format!("a{} == 1", ".b()".repeat(500)),
        &format!("1{} == 1", " + 1".repeat(500)),
        &"!".repeat(5000),
        &"a ? b : ".repeat(500),
        &format!("'{}' == ''", "x".repeat(MAX_TEXT)),
    ] {
        let error = Expression::parse(text).expect_err(text);
        assert!(error.is_configuration(), "{text}");
    }
}

#[test]
fn loops_stop_when_they_have_visited_too_much() {
    let many = Value::Array((0..800).map(|n| json!(n)).collect());
    let loops = Expression::parse("list.all(a, list.all(b, a >= 0))").expect("it is CEL");
    let error = loops.holds([("list", &many)]).expect_err("it visits 640 000 elements");
    assert!(error.to_string().contains("too many steps"), "{error}");
    let few = Value::Array((0..80).map(|n| json!(n)).collect());
    assert_eq!(loops.holds([("list", &few)]), Ok(true), "each evaluation has its own budget");
}

#[test]
fn texts_and_lists_stop_growing_before_memory_ends() {
    let big = json!("a".repeat(1 << 20));
    let numbers = |count: u32| Value::Array((0..count).map(|n| json!(n)).collect());
    let (list, long) = (numbers(200), numbers(1_500));
    let tenfold = ".replace('a', 'aaaaaaaaaa')".repeat(12);
    let sum = ["big"; 900].join(" + ");
    let listed = ["big"; 900].join(", ");
    // In brackets, so that it is nested no deeper than allowed.
    let balanced = format!("size({}) > 0", vec![format!("({})", ["big"; 10].join(" + ")); 10].join(" + "));
    for text in [
        format!("'a'{tenfold}.size() > 0"),
        "big.replace('a', big).size() > 0".to_owned(),
        "big.replace('', big, 1000000).size() > 0".to_owned(),
        "list.map(i, string(i)).join(big).size() > 0".to_owned(),
        format!("[{listed}].join().size() > 0"),
        format!("'%s'.format([[{listed}]]).size() > 0"),
        "list.map(i, big).size() > 0".to_owned(),
        "list.map(i, big.upperAscii()).size() > 0".to_owned(),
        "long.map(i, long).size() > 0".to_owned(),
        "list.map(i, {'x': big}).size() > 0".to_owned(),
        "list.all(i, (big + 'x').size() > 0)".to_owned(),
        "list.all(i, big.split('').size() > 0)".to_owned(),
        "list.exists(i, big.matches('b$'))".to_owned(),
        balanced,
    ] {
        let grows = Expression::parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let error = grows.holds([("big", &big), ("list", &list), ("long", &long)]).expect_err(&text);
        assert!(error.to_string().contains("too much data"), "{error}");
    }
    assert!(Expression::parse(&format!("size({sum}) > 0")).is_err(), "it is nested too deep");
    let deep = format!("('a'{}).size() > 0", " + status".repeat(20));
    let fields = [("status", &json!("b"))];
    assert_eq!(Expression::parse(&deep).and_then(|deep| deep.holds(fields)), Ok(true));
    let small = Expression::parse("list.map(i, string(i)).join(',').replace('1', 'one').size() > 9").unwrap();
    assert_eq!(small.holds([("list", &list)]), Ok(true));
}

#[test]
fn a_ready_expression_knows_its_variables_and_its_type() {
    let compile = |text: &str| Expression::compile(text, &["self", "dep"]);
    for text in [
        "dep.metadata.labels['v'] == self.metadata.labels['v']",
        "dep.status.conditions.filter(e, e.type == 'Ready').all(e, e.status == 'True')",
        "sets.contains([1], [1])",
        "dep.?status.ready.orValue(false)",
        "dep.status.ready",
        "type(dep.x) == string",
        "true",
    ] {
        assert!(compile(text).is_ok(), "{text}: {:?}", compile(text));
    }
    for text in [
        "other.status.ready",
        "dep.items.all(x, y)",
        "'text'",
        "1 + 2",
        "[dep]",
        "{'a': dep}",
        "size(dep.items)",
        "dep.items.map(x, x)",
        "dep.ready ? 'a' : 'b'",
    ] {
        assert!(compile(text).is_err_and(|error| error.is_configuration()), "{text}");
    }
}

fn rule<'a>(api_version: &'a str, kind: Option<&'a str>, current: &'a str) -> Rule<'a> {
    Rule { api_version, kind, in_progress: None, failed: None, current }
}

#[test]
fn rules_are_asked_in_order_and_the_kind_goes_before_the_group() {
    let of = |rules: Vec<Rule<'_>>| Rules::compile(rules).expect("valid").judge(&object());
    let yes = Some("status.phase == 'Ready'");
    let no = Some("status.phase == 'Nope'");
    let base = rule("example.org/v9", Some("Widget"), "true");
    assert_eq!(of(vec![base]), Some(Ok(Health::Current)));
    assert_eq!(of(vec![Rule { in_progress: yes, failed: yes, ..base }]), Some(Ok(Health::InProgress)));
    assert_eq!(of(vec![Rule { in_progress: no, failed: yes, ..base }]), Some(Ok(Health::Failed)));
    assert_eq!(of(vec![Rule { failed: no, ..base }]), Some(Ok(Health::Current)));
    assert_eq!(of(vec![Rule { current: "false", ..base }]), Some(Ok(Health::InProgress)));
    assert_eq!(of(vec![rule("example.org/v1", None, "false"), base]), Some(Ok(Health::Current)),);
    assert_eq!(of(vec![rule("example.org/v1", None, "true")]), Some(Ok(Health::Current)));
    assert_eq!(of(vec![rule("v1", None, "true"), rule("example.org/v1", Some("Gadget"), "true")]), None);
    assert!(matches!(of(vec![Rule { current: "status.nope", ..base }]), Some(Err(_))));
}

#[test]
fn a_lagging_controller_is_in_progress_whatever_the_rules_say() {
    let rules = Rules::compile([rule("example.org/v1", Some("Widget"), "true")]).expect("valid");
    let mut widget = object();
    for (observed, expected) in [
        (json!(1), Health::InProgress),
        (json!(2), Health::Current),
        (json!("1"), Health::Current),
        (Value::Null, Health::Current),
    ] {
        widget["status"]["observedGeneration"] = observed.clone();
        assert_eq!(rules.judge(&widget), Some(Ok(expected)), "{observed}");
    }
}

#[test]
fn two_rules_for_one_kind_are_refused() {
    let twice = Rules::compile([
        rule("example.org/v1", Some("Widget"), "true"),
        rule("example.org/v2", Some("Widget"), "true"),
    ]);
    assert!(twice.is_err_and(|error| error.is_configuration()));
    assert!(Rules::compile([rule("example.org/v1", None, "")]).is_err());
}
