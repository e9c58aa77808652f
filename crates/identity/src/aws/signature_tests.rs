use super::*;

#[test]
fn only_codecommit_hosts_get_a_signed_password() {
    for (url, region) in [
        ("https://git-codecommit.us-east-1.amazonaws.com/v1/repos/apps", Some("us-east-1")),
        ("https://git-codecommit-fips.eu-west-1.amazonaws.com/v1/repos/apps", Some("eu-west-1")),
        ("https://git-codecommit.cn-north-1.amazonaws.com.cn/v1/repos/apps", Some("cn-north-1")),
        ("http://git-codecommit.us-east-1.amazonaws.com/v1/repos/apps", None),
        ("https://git-codecommit.us-east-1.amazonaws.com.evil.example/x", None),
        ("https://evil.example/git-codecommit.us-east-1.amazonaws.com", None),
        ("https://git-codecommit.us-east-1.amazonaws.com:8443/x", None),
        ("https://git-codecommit.a.b.amazonaws.com/x", None),
    ] {
        let got = Repository::parse(&Url::parse(url).unwrap()).ok().map(|repository| repository.region);
        assert_eq!(got.as_deref(), region, "{url}");
    }
}

#[test]
fn role_names_are_checked_before_they_are_used() {
    assert!(is_role_arn("arn:aws:iam::123456789012:role/git"));
    assert!(is_role_arn("arn:aws-cn:iam::1:role/path/git"));
    for text in [
        "",
        "arn:aws:iam::x:role/git",
        "arn:aws:iam::1:role/",
        "arn:aws:sts::1:role/git",
        "arn:aws;:iam::1:role/a",
    ] {
        assert!(!is_role_arn(text), "{text}");
    }
}

#[test]
fn the_password_is_a_timestamp_and_a_signature_of_the_path() {
    let url = Url::parse("https://git-codecommit.us-east-1.amazonaws.com/v1/repos/apps").unwrap();
    let repository = Repository::parse(&url).unwrap();
    let keys = Keys {
        id: "AKID".to_owned(),
        secret: "secret".to_owned().into(),
        session: Some("token".to_owned().into()),
        expires: None,
    };
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let credential = repository.credential(&keys, now);
    let Presented::Basic { username, password } = credential.kind else { panic!("basic expected") };
    assert_eq!(username.expose(), "AKID%token");
    // HMAC-SHA256 chain over "GIT\n/v1/repos/apps\n\nhost:…\n\nhost\n", computed independently with Python's hmac.
    assert_eq!(
        password.expose(),
        "20231114T221320Zb8261e806914b6f28e2a0d2fabdf6c6fcca2174a7c507b87d309ce125165e34e"
    );
    assert_eq!(credential.expires, now + VALID);
}
