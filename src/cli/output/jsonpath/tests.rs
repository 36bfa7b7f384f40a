//! kubectl's documented examples, and what is refused.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn answer() -> Value {
    json!({
        "kind": "List",
        "items": [
            { "kind": "None", "metadata": { "name": "127.0.0.1", "labels": { "kubernetes.io/hostname": "a" } },
              "status": { "capacity": { "cpu": "4" }, "addresses": [{ "type": "LegacyHostIP", "address": "127.0.0.1" }] } },
            { "kind": "None", "metadata": { "name": "127.0.0.2", "labels": {} },
              "status": { "capacity": { "cpu": "8" }, "addresses": [
                { "type": "LegacyHostIP", "address": "127.0.0.2" }, { "type": "another", "address": "127.0.0.3" }] } }
        ],
        "users": [
            { "name": "myself", "user": {} },
            { "name": "e2e", "user": { "username": "admin", "password": "secret" }, "age": 7, "on": true }
        ]
    })
}

#[track_caller]
fn run(template: &str) -> String {
    let path = JsonPath::parse(template).unwrap_or_else(|failure| panic!("{}", failure.render()));
    path.run(&answer(), &str::to_owned).unwrap_or_else(|failure| panic!("{}", failure.render()))
}

#[test]
fn the_examples_of_kubectls_manual_work() {
    for (template, expected) in [
        ("kind is {.kind}", "kind is List"),
        ("kind is {['kind']}", "kind is List"),
        ("{.users[0].name} {@.kind} {$.kind}", "myself List List"),
        ("{..name}", "127.0.0.1 127.0.0.2 myself e2e"),
        ("{.items[*].metadata.name}", "127.0.0.1 127.0.0.2"),
        ("{.users[0].name}", "myself"),
        (
            "{.items[*]['metadata.name', 'status.capacity']}",
            "127.0.0.1 127.0.0.2 {\"cpu\":\"4\"} {\"cpu\":\"8\"}",
        ),
        ("{.users[?(@.name==\"e2e\")].user.password}", "secret"),
        (
            "{range .items[*]}[{.metadata.name}, {.status.capacity.cpu}] {end}",
            "[127.0.0.1, 4] [127.0.0.2, 8] ",
        ),
        (
            "{range .items[*]}{.metadata.name}{\"\\t\"}{.kind}{\"\\n\"}{end}",
            "127.0.0.1\tNone\n127.0.0.2\tNone\n",
        ),
        ("{.items[*].metadata.labels.kubernetes\\.io/hostname}", "a"),
        ("{.items[*].metadata.labels['kubernetes\\.io/hostname']}", "a"),
        ("{.items[*].metadata.labels[\"kubernetes.io/hostname\"]}", "a"),
        ("{.items[0:1].metadata.name}", "127.0.0.1"),
        ("{.items[-1:].metadata.name}{.items[-1].metadata.name}", "127.0.0.2127.0.0.2"),
        ("{.items[::2].metadata.name}", "127.0.0.1"),
        ("{.users[1,0].name}", "e2e myself"),
        ("{.users[1].*}", "7 e2e true {\"password\":\"secret\",\"username\":\"admin\"}"),
    ] {
        assert_eq!(run(template), expected, "{template}");
    }
}

#[test]
fn conditions_compare_numbers_texts_and_existence() {
    for (condition, expected) in [
        ("@.age==7", "e2e"),
        ("@.age!=7", ""),
        ("@.age>=7.0", "e2e"),
        ("@.age > 6", "e2e"),
        ("@.age<7", ""),
        ("@.on==true", "e2e"),
        ("@.user.username", "e2e"),
        ("@.name!='e2e'", "myself"),
        ("@.name<\"f\"", "e2e"),
        ("\"e2e\"==@.name", "e2e"),
        ("@.name==$.users[0].name", "myself"),
        ("@.nothing==1", ""),
        ("@.nothing!=1", ""),
    ] {
        assert_eq!(run(&format!("{{.users[?({condition})].name}}")), expected, "{condition}");
    }
}

#[test]
fn ranges_nest_and_the_root_stays_the_root() {
    assert_eq!(
        run("{range .items[*]}{.metadata.name}:{range .status.addresses[*]} {.type}@{$.kind}{end};{end}"),
        "127.0.0.1: LegacyHostIP@List;127.0.0.2: LegacyHostIP@List another@List;"
    );
    assert_eq!(run("{range .users[*]}{.}{@.name}{end}").matches("e2e").count(), 2);
}

#[test]
fn what_is_not_there_gives_nothing_but_an_element_must_be_there() {
    assert_eq!(run("[{.nothing.at.all}{.kind.deeper}{.items[5:9]}]"), "[]");
    let path = JsonPath::parse("{.items[7]}").unwrap();
    let failure = path.run(&answer(), &str::to_owned).unwrap_err().render();
    assert!(failure.contains("no element [7] in a list of 2"), "{failure}");
    let path = JsonPath::parse("{.users[1][?(@.a)]}").unwrap();
    assert!(path.run(&answer(), &str::to_owned).unwrap_err().render().contains("only a list"));
}

#[test]
fn what_is_not_known_is_refused_by_name_and_place() {
    for (template, place, words) in [
        (".items", ":1:1", "put the path into braces"),
        ("{.items[*]", ":1:1", "no `}` closes this"),
        ("{.items[}", ":1:9", "expected a number"),
        ("{.items[0}", ":1:10", "expected `]`"),
        ("{}", ":1:2", "nothing between the braces"),
        ("{range .items[*]}{.kind}", ":1:2", "no {end} ends this range"),
        ("{.kind}{end}", ":1:8", "no {range} to end"),
        ("{items}", ":1:2", "`.items`"),
        ("{.items[?(@.a==1 && @.b==2)]}", ":1:18", "there is no `&&`"),
        ("{.items[?(@.a=~\"x\")]}", ":1:14", "there is no `=~`"),
        ("{.items[?(@.a=1)]}", ":1:14", "expected `==`"),
        ("{.items[?(@.a==b)]}", ":1:16", "a text stands in quotes: \"b\""),
        ("{.items[?(1)]}", ":1:11", "a condition compares"),
        ("{.items.length()}", ":1:9", "there is no function `length`"),
        ("{.items[(@.length-1)]}", ":1:9", "there are no scripts"),
        ("{.items[0:2:0]}", ":1:9", "the step of a slice"),
        ("{.items[99999999999999999999]}", ":1:9", "too large"),
        ("{\"open}", ":1:2", "never closed"),
        ("{\"\\q\"}", ":1:3", "no escape \\q"),
        ("{.a.}", ":1:5", "expected a name"),
    ] {
        let text = JsonPath::parse(template).unwrap_err().render();
        assert!(text.contains(place) && text.contains(words) && text.contains('^'), "{template}: {text}");
    }
}

#[test]
fn work_and_result_are_bounded() {
    let many = json!({ "a": vec![0; 3000] });
    let squared = JsonPath::parse("{range .a[*]}{range $.a[*]}{.}{end}{end}").unwrap();
    let failure = squared.run(&many, &str::to_owned).unwrap_err().render();
    assert!(failure.contains("looks at more than"), "{failure}");
    let long = json!({ "a": vec![0; 1000], "text": "x".repeat(1 << 20) });
    let wide = JsonPath::parse("{range .a[*]}{$.text}{end}").unwrap();
    let failure = wide.run(&long, &str::to_owned).unwrap_err().render();
    assert!(failure.contains("more than 67108864 bytes"), "{failure}");
}

proptest! {
    #[test]
    fn no_template_makes_it_panic(template in "[{}\\[\\]().*?@$'\"\\\\:,=<a1é -]{0,24}") {
        if let Ok(path) = JsonPath::parse(&template) {
            let _ = path.run(&answer(), &str::to_owned);
        }
    }
}
