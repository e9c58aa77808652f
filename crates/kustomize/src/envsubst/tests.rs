use super::*;
use proptest::prelude::*;

fn value(name: &str) -> Option<&'static str> {
    match name {
        "name" => Some("Gateway"),
        "empty" => Some(""),
        "file" => Some("srv/www/index.html.gz"),
        "code" => Some("xyz789"),
        "word" => Some("tür"),
        "path" => Some("a/b/a"),
        "sign" => Some("$name"),
        "minus" => Some("-2"),
        _ => None,
    }
}

fn strict(text: &str) -> Result<String, String> {
    substitute(text, &value, true, Limits::default()).map_err(|error| error.to_string())
}

#[test]
fn expressions_yield_what_flux_yields() {
    for (text, expected) in [
        ("plain $name $(name) {name}", "plain $name $(name) {name}"),
        ("$$ $$$ $$$$", "$ $$ $$"),
        ("$$${name}", "$Gateway"),
        ("$$$${name}", "$${name}"),
        ("\\${name}", "\\Gateway"),
        ("${name}${name}", "GatewayGateway"),
        ("${sign}", "$name"),
        ("${none:-}", ""),
        ("${none=x}", "x"),
        ("${none:=http://h:1/p}", "http://h:1/p"),
        ("${none:?oops}", "oops"),
        ("${name:+other}", "Gateway"),
        ("${empty:-x}", "x"),
        ("${none:-a${name}b${none:-c}}", "aGatewaybc"),
        ("${none:-$${name}}", "$Gateway"),
        ("${none:-a\\}b}", "a\\b}"),
        ("${none==b}", "=b"),
        ("${name:-a}b}", "Gatewayb}"),
        ("${#word}", "4"),
        ("${name^}${name^^}", "GatewayGATEWAY"),
        ("${name,}${name,,}", "gatewaygateway"),
        ("${name:1:3}", "ate"),
        ("${name:99}", ""),
        ("${name:x}", "Gateway"),
        ("${name: 1}", "Gateway"),
        ("${name:-2}", "Gateway"),
        ("${name:${minus}}", "ay"),
        ("${name:1:2:3}", "Gateway"),
        ("${file#*/}", "www/index.html.gz"),
        ("${file##*/}", "index.html.gz"),
        ("${file%.*}", "srv/www/index.html"),
        ("${file%%.*}", "srv/www/index"),
        ("${code%[0-9]}", "xyz789"),
        ("${code##*[a-z]}", "789"),
        ("${code#[^a-w]}", "yz789"),
        ("${code%*}${code#*}", "xyz78yz789"),
        ("${path/a/Z}", "Z/b/a"),
        ("${path//a/Z}", "Z/b/Z"),
        ("${path/#a/Z}", "Z/b/a"),
        ("${path/%a/Z}", "a/b/Z"),
        ("${path//\\//_}", "a_b_a"),
        ("${path/a*/Z}", "a/b/a"),
        ("${path/a/}", "/b/a"),
    ] {
        assert_eq!(strict(text).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn malformed_expressions_are_refused_in_flux_words() {
    for (text, expected) in [
        ("${none}", "variable not set (strict mode): \"none\""),
        ("${name:-${none}}", "variable not set (strict mode): \"none\""),
        ("${none/a/b}", "variable not set (strict mode): \"none\""),
        ("${none-x}", "missing closing brace"),
        ("${name }", "missing closing brace"),
        ("${name", "missing closing brace"),
        ("${}", "unable to parse variable name"),
        ("${ name}", "unable to parse variable name"),
        ("${!name}", "unable to parse variable name"),
        ("${name:}", "unable to parse substitution within function"),
        ("${name::2}", "unable to parse substitution within function"),
        ("${name#}", "unable to parse substitution within function"),
        ("${name/a}", "bad substitution"),
        ("${name//a}", "bad substitution"),
        ("${name^x}", "bad substitution"),
        ("${#name:-x}", "bad substitution"),
        ("${name:0:-1}", "substring length out of range"),
        ("${word:1:1}", "result is not valid UTF-8"),
    ] {
        assert_eq!(strict(text), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn without_strictness_an_unset_variable_is_empty() {
    assert_eq!(substitute("<${none}>", &value, false, Limits::default()), Ok("<>".to_owned()));
}

#[test]
fn growth_depth_and_work_are_bounded() {
    let long = "a".repeat(5000);
    let lookup = |name: &str| (name == "long").then_some(long.as_str());
    let limits = Limits { output: 10_000, depth: 4, steps: 100_000 };
    for text in [
        "${long}${long}${long}",
        "${long//a/${long}}",
        "${long:-${long}${long}${long}${long}${long}${long}${long}${long}}",
        "${long:-${long:-${long:-${long:-${long}}}}}",
        "${long##*a*a*a*b}",
    ] {
        let result = substitute(text, &lookup, true, limits);
        assert!(matches!(result, Err(Error::Limit { .. })), "{text}: {:?}", result.map(|r| r.len()));
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_fail_otherwise_than_by_an_error(text in "[$#:%/*?a-c{}=+\\-^,\\[\\]é ]{0,24}") {
        let _ = substitute(&text, &value, true, Limits::default());
    }
}
