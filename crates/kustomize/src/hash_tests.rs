use super::*;

#[test]
fn equal_content_has_the_suffix_upstream_gives_it() {
    let table = [
        ("kind: ConfigMap", "6ct58987ht"),
        ("kind: ConfigMap\ndata: {a: b}", "4h2mbtbbt6"),
        ("kind: Secret\ntype: Opaque\ndata: {k: dg==}", "ftgtgc4t9f"),
        ("kind: ConfigMap\ndata: {k: w}", "mgtm594d64"),
        ("kind: ConfigMap\ndata: {html: \"<a>&b\", k: v, uni: \"é\u{2028}\"}", "8mmg747ggh"),
    ];
    for (text, expected) in table {
        let node = sluice_manifest::yaml::parse_stream(text, Default::default()).unwrap().remove(0);
        assert_eq!(suffix(&Resource::new(node)).unwrap(), expected, "{text}");
    }
}
