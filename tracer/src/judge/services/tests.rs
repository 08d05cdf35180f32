use super::*;

const FILE: &str = r#"
[[service]]
id = "baidu-push"
name = "Baidu Push"
owner = "Baidu"
country = "CN"
category = "push"
expected = ["CN"]
[[service.fact]]
hosts = ["tuisong.baidu.com", "=api.push.baidu.com"]
ports = ["tcp/5287"]
asns = [38365]
packages = ["com.baidu.push"]

[[service]]
id = "other"
name = "Other"
category = "push"
[[service.fact]]
hosts = ["example.com"]
ports = ["tcp/5223"]

[[service]]
id = "third"
name = "Third"
category = "push"
[[service.fact]]
ports = ["tcp/5223"]
asns = [64496]
"#;

fn services() -> Services {
    let mut services = Services::default();
    let complaints = services.load(&Source::new("test.toml", FILE));
    assert_eq!(complaints, []);
    services
}

const SUBJECT: Subject<'_> =
    Subject { domain: None, transport: Transport::Tcp, port: 443, asn: None, packages: "" };

fn found(subject: &Subject<'_>) -> Option<(String, Vec<Evidence>, bool)> {
    let services = services();
    let found = services.find(subject)?;
    Some((services.get(found.service)?.id.clone(), found.evidence.iter().collect(), found.is_possible()))
}

#[test]
fn a_name_decides_and_what_else_speaks_for_it_is_told() {
    let subject = Subject { domain: Some("sa3.tuisong.baidu.com"), port: 5287, asn: Some(38365), ..SUBJECT };
    let all = vec![Evidence::Name, Evidence::Port, Evidence::As];
    assert_eq!(found(&subject), Some(("baidu-push".into(), all, false)));
    let subject = Subject { domain: Some("www.example.com"), port: 5287, asn: Some(38365), ..SUBJECT };
    assert_eq!(found(&subject), Some(("other".into(), vec![Evidence::Name], false)));
    let subject = Subject { domain: Some("x.api.push.baidu.com"), ..SUBJECT };
    assert_eq!(found(&subject), None);
}

#[test]
fn a_port_decides_only_with_the_app_or_the_network() {
    let subject = Subject { port: 5287, ..SUBJECT };
    assert_eq!(found(&subject), Some(("baidu-push".into(), vec![Evidence::Port], true)));
    let with_as = Subject { asn: Some(38365), ..subject };
    assert_eq!(found(&with_as), Some(("baidu-push".into(), vec![Evidence::Port, Evidence::As], false)));
    let with_app = Subject { packages: "com.other,com.baidu.push.demo", ..subject };
    assert_eq!(found(&with_app), Some(("baidu-push".into(), vec![Evidence::Port, Evidence::App], false)));
    let with_other_app = Subject { packages: "com.baidu.pusher", ..subject };
    assert_eq!(found(&with_other_app).map(|(.., is_possible)| is_possible), Some(true));
    assert_eq!(found(&Subject { transport: Transport::Udp, ..subject }), None);
    assert_eq!(found(&Subject { asn: Some(38365), ..SUBJECT }), None);
}

#[test]
fn a_port_of_two_services_makes_none_of_them_possible() {
    assert_eq!(found(&Subject { port: 5223, ..SUBJECT }), None);
    let with_as = Subject { port: 5223, asn: Some(64496), ..SUBJECT };
    assert_eq!(found(&with_as), Some(("third".into(), vec![Evidence::Port, Evidence::As], false)));
}

#[test]
fn what_is_wrong_is_told_with_its_place_and_the_rest_is_used() {
    let text = r#"
[[service]]
id = "a"
name = "A"
category = "push"
countri = "CN"
[[service]]
id = "b"
name = "B"
category = "pusch"
[[service]]
id = "c"
name = "C"
category = "push"
country = "XX"
[[service.fact]]
hosts = ["good.example", "b@d"]
ports = ["tcp/5228", "tcp/443", "5228"]
hots = []
"#;
    let mut services = Services::default();
    let complaints: Vec<String> =
        services.load(&Source::new("f.toml", text)).iter().map(ToString::to_string).collect();
    let has =
        |what: &str| assert!(complaints.iter().any(|line| line.contains(what)), "{what}: {complaints:#?}");
    has("f.toml:6:1: unknown field `countri`; did you mean `country`?");
    has("f.toml:10:12: ");
    has("service `c`: `XX` is no country code");
    has("`b@d` is no host name");
    has("port `tcp/443` speaks for nobody");
    has("`5228` is no port");
    has("f.toml:19:1: unknown field `hots`; did you mean `hosts`?");
    assert_eq!(services.all().len(), 1);
    let subject = Subject { domain: Some("good.example"), ..SUBJECT };
    assert!(services.find(&subject).is_some());
}

#[test]
fn a_service_of_the_user_replaces_a_known_one() {
    let mut services = services();
    let text = "[[service]]\nid = \"other\"\nname = \"Mine\"\ncategory = \"ads\"\n";
    assert_eq!(services.load(&Source::new("mine.toml", text)), []);
    assert_eq!(services.all().len(), 3);
    assert_eq!(services.find(&Subject { domain: Some("example.com"), ..SUBJECT }), None);
}

#[test]
fn the_built_in_file_is_right_and_every_fact_has_its_source() {
    let mut services = Services::default();
    let text = include_str!("../../../../data/services.toml");
    assert_eq!(services.load(&Source::new("services.toml", text)), []);
    for service in services.all() {
        assert!(service.owner.is_some() && !service.facts.is_empty(), "{}", service.id);
        for fact in &service.facts {
            assert!(fact.source.is_some() && fact.confidence.is_some(), "{}: {fact:?}", service.id);
        }
    }
}
