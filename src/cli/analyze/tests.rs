use super::*;

const FILE: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: reviews
  namespace: shop
spec:
  hosts: [reviews]
  http:
  - route:
    - destination:
        host: reviews
        subset: v3
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: reviews
  namespace: shop
  annotations:
    galley.istio.io/analyze-suppress: IST0174,IST0128
spec:
  host: reviewz
  trafficPolicy:
    tls: {mode: SIMPLE}
---
kind: [
";

/// Everything that is said of a file, in one form.
fn said(file: &str, text: &str, form: impl Fn(&Findings<'_>) -> String) -> String {
    let documents = manifests::documents(file, text);
    let mut input = Input::new(World::new(Settings::default()), "default");
    input.take_all(&documents);
    form(&input.findings(&documents, None))
}

#[test]
fn log_shows_the_line_that_is_meant_what_traffic_does_and_the_cure() {
    insta::assert_snapshot!(said("shop.yaml", FILE, |findings| {
        report::rendered(&findings.said, false) + &report::summary(findings)
    }));
}

#[test]
fn sarif_has_every_rule_and_marks_what_is_suppressed() {
    let log = said("my shop.yaml", FILE, |findings| {
        sarif::log(findings).unwrap()
    });
    let mut log: Value = serde_json::from_str(&log).unwrap();
    let run = &mut log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].take();
    for result in run["results"].as_array_mut().unwrap() {
        let place = result["ruleIndex"].take().as_u64().unwrap();
        assert_eq!(
            rules[usize::try_from(place).unwrap()]["id"],
            result["ruleId"]
        );
    }
    insta::assert_json_snapshot!(run["results"]);
}

#[test]
fn annotations_of_github_are_one_line_each_whatever_is_in_them() {
    insta::assert_snapshot!(said("a,b:c%.yaml", FILE, |findings| github::annotations(
        &findings.said
    )));
}

#[test]
fn json_and_yaml_are_the_same_list() {
    let json = said("shop.yaml", FILE, |findings| {
        machine::json(&findings.said).unwrap()
    });
    let yaml = said("shop.yaml", FILE, |findings| {
        machine::yaml(&findings.said).unwrap()
    });
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), json);
    insta::assert_json_snapshot!(json);
}

#[test]
fn order_of_documents_changes_nothing_but_the_lines() {
    let said_of = |text: &str| {
        said("f", text, |findings| {
            let subjects = findings
                .said
                .iter()
                .map(|it| format!("{} {} {}\n", it.code, it.subject(), it.text));
            let mut subjects: Vec<String> = subjects.collect();
            subjects.sort();
            subjects.concat()
        })
    };
    let mut documents: Vec<&str> = FILE.split("---\n").take(2).collect();
    let forwards = said_of(&documents.join("---\n"));
    documents.reverse();
    assert_eq!(said_of(&documents.join("---\n")), forwards);
}

#[test]
fn suppressed_by_flag_is_counted_and_not_said() {
    let documents = manifests::documents("shop.yaml", FILE);
    let mut input = Input::new(World::new(Settings::default()), "default");
    input.take_all(&documents);
    let mut findings = input.findings(&documents, None);
    findings.suppress(&["IST0101=VirtualService shop/*".parse().unwrap()]);
    assert!(findings.said.iter().all(|it| it.code != "IST0101"));
    assert!(report::summary(&findings).contains("IST0101 × "));
}

#[test]
fn a_line_too_long_to_show_is_told_by_its_place() {
    let file = format!(
        "{{\"apiVersion\": \"networking.istio.io/v1\", \"kind\": \"VirtualService\", \"metadata\": {{\"name\": \"a\", \"annotations\": {{\"x\": \"{}\"}}}}, \"spec\": {{\"hosts\": [\"a\"], \"http\": [{{\"route\": [{{\"destination\": {{\"host\": \"nowhere\"}}}}]}}]}}}}",
        "x".repeat(1000)
    );
    let log = said("long.json", &file, |findings| {
        report::rendered(&findings.said, false)
    });
    assert!(log.len() < 2000, "{log}");
    assert!(
        log.contains("--> long.json (VirtualService default/a"),
        "{log}"
    );
}
