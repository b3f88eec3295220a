//! What the environment may say, and what it may not.

use super::*;

fn of(variables: &[(&str, &str)]) -> Result<Endpoint, String> {
    let get = |name: &str| variables.iter().find(|(there, _)| *there == name).map(|(_, value)| (*value).to_owned());
    Endpoint::of_environment(get).map_err(|wrong| {
        let error = wrong.of("openai:m");
        assert!(!format!("{error} {error:?}").contains("sk-"), "{error}");
        error.to_string()
    })
}

fn key(endpoint: &Endpoint) -> Option<String> {
    endpoint.key.as_ref().map(|key| key.header().unwrap().to_str().unwrap().to_owned())
}

#[test]
fn key_of_one_endpoint_goes_to_no_other() {
    let endpoint = of(&[("OPENAI_API_KEY", " sk-one\n")]).unwrap();
    assert_eq!(endpoint.url, "https://api.openai.com/v1/embeddings");
    assert_eq!(key(&endpoint).as_deref(), Some("Bearer sk-one"));
    let both = [("OPENAI_API_KEY", "sk-one"), ("KITHDB_EMBEDDINGS_KEY", "sk-two")];
    assert_eq!(key(&of(&both).unwrap()).as_deref(), Some("Bearer sk-two"));

    let own = ("KITHDB_EMBEDDINGS_URL", "http://localhost:11434/v1/");
    let endpoint = of(&[own, ("OPENAI_API_KEY", "sk-one")]).unwrap();
    assert_eq!((endpoint.url.as_str(), key(&endpoint)), ("http://localhost:11434/v1/embeddings", None));
    let endpoint = of(&[own, both[0], both[1]]).unwrap();
    assert_eq!(key(&endpoint).as_deref(), Some("Bearer sk-two"));
    assert_eq!(
        format!("{:?} {:?}", endpoint.key, endpoint.key.as_ref().unwrap().header()),
        "Some(Key) Some(Sensitive)"
    );
}

#[test]
fn environment_that_cannot_do_is_told_with_what_to_set() {
    let said = of(&[]).err().unwrap();
    assert!(said.contains("set OPENAI_API_KEY to it, or KITHDB_EMBEDDINGS_URL to the address"), "{said}");
    let said = of(&[("OPENAI_API_KEY", "sk-\u{1}")]).err().unwrap();
    assert!(said.contains("set OPENAI_API_KEY to the key alone"), "{said}");
    for url in [
        "localhost:8080/v1",
        "ftp://localhost/v1",
        "/v1",
        "http://",
        "https://user:sk-three@example.org/v1",
        "https://example.org/v1?key=sk-three",
        "https://exa mple.org",
    ] {
        let said = of(&[("KITHDB_EMBEDDINGS_URL", url)]).err().unwrap();
        assert!(said.contains("set KITHDB_EMBEDDINGS_URL to an address such as"), "{url}: {said}");
    }
    let key = ("KITHDB_EMBEDDINGS_KEY", "sk-two");
    for url in [
        "http://example.org/v1",
        "http://192.168.1.2:8080/v1",
        "http://localhost.example.org/v1",
        "http://[2001:db8::1]/v1",
    ] {
        let said = of(&[("KITHDB_EMBEDDINGS_URL", url), key]).err().unwrap();
        assert!(said.contains("the key would go over the network unencrypted"), "{url}: {said}");
        assert!(of(&[("KITHDB_EMBEDDINGS_URL", url)]).is_ok(), "without a key there is nothing to lose");
    }
    for url in ["https://example.org/v1", "http://127.0.0.1:1/v1", "http://[::1]:8080", "http://localhost/v1"] {
        assert!(of(&[("KITHDB_EMBEDDINGS_URL", url), key]).is_ok(), "{url}");
    }
}
