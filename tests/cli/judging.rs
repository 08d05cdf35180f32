//! What the user gives to be judged by: files with mistakes in them, and questions about services.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use serde_json::json;
use tracer_tests::record::{at, text};
use tracer_tests::temp::{TempDir, fixture};

use super::{json_lines, refused, said, tracer};

fn check(targets: &[&str], option: &str, file: &Path) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = ["services", "check"].iter().map(Into::into).collect();
    arguments.extend(targets.iter().map(Into::into));
    arguments.extend([option.into(), file.as_os_str().to_owned()]);
    arguments
}

#[test]
fn a_mistake_in_a_file_of_rules_is_told_with_file_line_field_and_the_nearest_right_word() {
    let files = TempDir::new();
    let head = "[[rule]]\nid = \"mine\"\nreason = \"x\"\n";
    for (wrong, line, words) in [
        ("severity = \"medum\"", 4, ["`severity`", "`medum`", "`medium`"]),
        ("wehn = 1", 4, ["field", "`wehn`", "`when`"]),
        ("when = { \"app.pakage\" = \"a\" }", 4, ["field", "`app.pakage`", "`app.package`"]),
        ("key = [\"destination.prot\"]\n", 4, ["field", "`destination.prot`", "`destination.port`"]),
        ("\n[rule.when]\n\"destination.bytes\" = { atleast = 1 }", 6, ["", "`atleast`", "`at_least`"]),
        ("expected_if = \"{destination.domian}\"", 4, ["", "`destination.domian`", "`destination.domain`"]),
        ("severity = ", 4, ["", "", ""]),
    ] {
        let path = files.write("my-rules.toml", format!("{head}{wrong}\n").as_bytes());
        let (code, errors) = refused(&check(&["a.example"], "--rules", &path));
        assert_eq!(code, Some(2), "{errors}");
        let place = format!("my-rules.toml:{line}:");
        for word in [place.as_str()].into_iter().chain(words) {
            assert!(errors.contains(word), "no {word:?} in:\n{errors}");
        }
    }
}

#[test]
fn all_mistakes_of_a_file_of_rules_are_told_and_nothing_of_it_is_used() {
    let files = TempDir::new();
    let one = "[[rule]]\nid = \"a\"\nwhen = { \"app.package\" = \"a\" }\n";
    let path = files.write("r.toml", format!("{one}x = 1\n{one}{one}y = 1\n").as_bytes());
    let (_, errors) = refused(&check(&["a.example"], "--rules", &path));
    assert!(errors.contains("nothing of it is used"), "{errors}");
    assert!(errors.contains("r.toml:4:1: ") && errors.contains("r.toml:11:1: "), "{errors}");
}

#[test]
fn wrong_entries_of_a_file_of_services_are_counted_and_the_others_are_used() {
    let files = TempDir::new();
    let service = |id: &str, fact: &str| {
        format!(
            "[[service]]\nid = \"{id}\"\nname = \"{id}\"\ncategory = \"push\"\n[[service.fact]]\n{fact}\nsource = \"me\"\nconfidence = \"observed\"\n"
        )
    };
    let mut content = service("good", "hosts = [\"good.example\"]");
    content += &service("bad-field", "host = [\"a.example\"]");
    content += &service("bad-word", "hosts = [\"b.example\"]").replace("\"push\"", "\"pusch\"");
    content += "[[service]]\nno toml\n";
    content += &service("better", "hosts = [\"=better.example\"]");
    let path = files.write("my-services.toml", content.as_bytes());
    let output =
        tracer(&check(&["x.good.example", "better.example", "a.example", "--json"], "--services", &path));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{errors}");
    let answers = json_lines(&String::from_utf8(output.stdout).unwrap());
    let ids: Vec<_> = answers.iter().map(|answer| text(answer, "service.id")).collect();
    assert_eq!(ids, ["good", "better", ""]);
    for word in [
        "my-services.toml:14:",
        "`hosts`",
        "`category`",
        "`push`",
        "3 things were left out; the rest is used",
    ] {
        assert!(errors.contains(word), "no {word:?} in:\n{errors}");
    }
}

#[test]
fn wrong_lines_of_a_list_of_hosts_are_counted_and_the_others_are_used() {
    let files = TempDir::new();
    let content =
        b"# both forms\nads.example\n0.0.0.0 one.example two.example\nb@d\ntwo words\n\xff\xfe\nlast.example";
    let path = files.write("hosts.txt", content);
    let list = format!("mine={}", path.display());
    let targets = ["sub.ads.example", "one.example", "sub.one.example", "last.example"];
    let mut arguments = check(&targets, "--list", Path::new(&list));
    arguments.push("--json".into());
    let output = tracer(&arguments);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let answers = json_lines(&String::from_utf8(output.stdout).unwrap());
    let lists: Vec<_> = answers.iter().map(|answer| at(answer, "lists").clone()).collect();
    assert_eq!(lists, [json!(["mine"]), json!(["mine"]), json!(null), json!(["mine"])]);
    assert!(errors.contains("3 of its lines hold no host name"), "{errors}");
    assert!(errors.contains("line 4, 5, 6") && errors.contains("4 names are used"), "{errors}");
}

#[test]
fn a_file_that_cannot_be_read_is_refused_with_its_option_and_name() {
    for (option, value) in
        [("--rules", "/nowhere/r"), ("--services", "/nowhere/s"), ("--list", "x=/nowhere/l")]
    {
        let (code, errors) = refused(&check(&["a.example"], option, Path::new(value)));
        assert_eq!(code, Some(2), "{errors}");
        assert!(errors.contains(option) && errors.contains("/nowhere/"), "{errors}");
    }
}

#[test]
fn a_host_or_an_address_is_told_its_service_and_what_speaks_for_it() {
    let files = TempDir::new();
    let geo = files.write("geo.mmdb", fixture::XPERIA_GEO);
    let targets = [
        "sa3.tuisong.baidu.com:5287",
        "SA3.tuisong.baidu.com.",
        "203.0.113.7:5287",
        "198.51.100.1:5287",
        "unknown.example",
    ];
    let mut arguments = check(&targets, "--geo", &geo);
    arguments.push("--json".into());
    let answers = json_lines(&said(&arguments));
    let found: Vec<_> =
        answers.iter().map(|answer| (text(answer, "service.id"), at(answer, "service.match"))).collect();
    let known = "baidu-push";
    assert_eq!(
        found,
        [
            (known, &json!(["name", "port"])),
            (known, &json!(["name"])),
            (known, &json!(["port", "as"])),
            (known, &json!(["port"])),
            ("", &json!(null)),
        ]
    );
    assert_eq!(at(&answers[3], "service.possible"), &json!(true));
    let told = said(&check(&["203.0.113.7:5287"], "--geo", &geo));
    assert!(told.contains("Baidu Push, push of Baidu (CN), by its port and network"), "{told}");
    for wrong in ["b@d", "a.example:x", "", "300.1.1.1:1:1"] {
        let (code, errors) = refused(&["services", "check", wrong]);
        assert_eq!(code, Some(2), "{wrong}: {errors}");
    }
}

#[test]
fn a_list_of_a_million_domains_is_taken_whole() {
    let files = TempDir::new();
    let mut content = String::new();
    for number in 0..1_000_000_u32 {
        let _ = writeln!(content, "{:x}.ads{}.example", number.wrapping_mul(2_654_435_761), number % 977);
    }
    let path = files.write("million.txt", content.as_bytes());
    let list = format!("million={}", path.display());
    let began = Instant::now();
    let output = tracer(&check(
        &["0.ads0.example", "x.9e3779b1.ads1.example", "zz.ads1.example"],
        "--list",
        Path::new(&list),
    ));
    println!("took {:?}", began.elapsed());
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stderr).matches("million=").count(),
        0,
        "nothing was wrong with it"
    );
    let listed: Vec<bool> = told.lines().map(|line| line.contains("million")).collect();
    assert_eq!(listed, [true, true, false], "{told}");
}
