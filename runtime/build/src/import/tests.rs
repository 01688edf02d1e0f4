//! Mistakes in model files: each is told with the path inside the file, none costs more than the file's size.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod fixtures;

use super::read;

/// A model of one split, which `change` makes wrong: every occurrence of a text becomes another.
const XGBOOST: &str = r#"{"learner":{"attributes":{},"feature_names":["a","b"],"feature_types":["float","c"],
"gradient_booster":{"model":{"gbtree_model_param":{"num_parallel_tree":"1","num_trees":"1"},"iteration_indptr":[0,1],
"tree_info":[0],"trees":[{"categories":[2],"categories_nodes":[1],"categories_segments":[0],"categories_sizes":[1],
"default_left":[0,1,0,0,0],"left_children":[1,3,-1,-1,-1],"right_children":[2,4,-1,-1,-1],
"split_conditions":[0.5,NaN,1.5,2.5,3.5],"split_indices":[0,1,0,0,0],"split_type":[0,1,0,0,0],
"tree_param":{"num_nodes":"5","size_leaf_vector":"1"}}]},"name":"gbtree"},
"learner_model_param":{"base_score":"[5E-1]","num_class":"0","num_feature":"2","num_target":"1"},
"objective":{"name":"binary:logistic"}},"version":[3,2,0]}"#;

const LIGHTGBM: &str = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=1\n\
objective=binary sigmoid:1\nfeature_names=a b\nfeature_infos=[0:1] 0:1:2\ntree_sizes=1\n\nTree=0\nnum_leaves=3\nnum_cat=1\n\
split_feature=0 1\nthreshold=0.5 0\ndecision_type=10 1\nleft_child=1 -1\nright_child=-2 -3\nleaf_value=1 2 3\n\
cat_boundaries=0 1\ncat_threshold=6\nis_linear=0\nshrinkage=1\n\n\nend of trees\n\nparameters:\n\
[categorical_feature: 1]\nend of parameters\n\npandas_categorical:[[\"x\", \"y\", \"z\"]]\n";

#[track_caller]
fn check(text: &str, expected: &str) {
    let error = read("hero", text.as_bytes(), None).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}; expected {expected:?}");
}

#[track_caller]
fn changed(text: &str, from: &str, to: &str, expected: &str) {
    assert!(text.contains(from), "{from:?} does not stand there");
    check(&text.replace(from, to), expected);
}

#[test]
fn the_content_says_the_format() {
    let kind = |text: &str| read("hero", text.as_bytes(), None).unwrap().kind;
    assert_eq!((kind(XGBOOST).as_str(), kind(LIGHTGBM).as_str()), ("xgboost", "lightgbm"));
    let pipeline = serde_json::to_string(&read("hero", XGBOOST.as_bytes(), None).unwrap()).unwrap();
    assert_eq!(kind(&pipeline), "xgboost", "the middle form reads itself back");
    check("", "hero is no model file");
    check("{}", "hero is no model file");
    check(
        r#"{"nodes": [], "edges": []}"#,
        "hero is a decision graph (JDM), which is read under a name that ends in .jdm.json",
    );
    check("{\"learner\":", "EOF");
    let pickle = read("hero", b"\x80\x04", None).unwrap_err().to_string();
    assert!(pickle.contains("pickle"), "{pickle}");
}

#[test]
fn names_are_the_caller_s_or_the_file_s() {
    let names = |given: &[&str]| {
        let given: Vec<String> = given.iter().map(|name| (*name).to_owned()).collect();
        let names = if given.is_empty() { None } else { Some(given.as_slice()) };
        read("hero", XGBOOST.as_bytes(), names).map(|pipeline| pipeline.inputs[1].name.clone())
    };
    assert_eq!(names(&[]).unwrap(), "b");
    assert_eq!(names(&["user.a", "item.b"]).unwrap(), "item.b");
    assert!(names(&["a"]).unwrap_err().to_string().contains("1 feature names were given"));
    assert!(names(&["a", "a"]).unwrap_err().to_string().contains("\"a\" stands twice"));
    changed(XGBOOST, r#"["a","b"]"#, r#"["a","a"]"#, "learner.feature_names: the name \"a\" stands twice");
    changed(XGBOOST, r#"["a","b"]"#, r#"["a"]"#, "learner.feature_names: 1 names for 2 features");
    changed(LIGHTGBM, "feature_names=a b", "feature_names=a", "feature_names: 1 names for 2 features");
}

#[test]
fn a_wrong_xgboost_model_is_told_at_its_path() {
    let x = |from: &str, to: &str, expected: &str| changed(XGBOOST, from, to, expected);
    let tree = "learner.gradient_booster.model.trees[0]";
    let at = |rest: &str| format!("{tree}{rest}");
    x("[3,2,0]", "[4,0,0]", "version[0]: XGBoost 4 is unknown");
    x("binary:logistic", "survival:aft", "learner.objective.name: the objective \"survival:aft\" is not supported");
    x("\"gbtree\"}", "\"gblinear\"}", "learner.gradient_booster.name: the booster \"gblinear\" is not supported");
    x("\"size_leaf_vector\":\"1\"", "\"size_leaf_vector\":\"2\"", "size_leaf_vector: several values a leaf");
    x("\"num_trees\":\"1\"", "\"num_trees\":\"2\"", "num_trees: there are 1 trees");
    x("[5E-1]", "[5E-1,5E-1]", "base_score: 2 values for 1 outputs");
    x("[5E-1]", "[1]", "base_score: 1 has no finite margin");
    x("[5E-1]", "half", "base_score: \"half\" is no number");
    x("\"num_feature\":\"2\"", "\"num_feature\":\"4000000000\"", "4000000000 features, at most 100000");
    x("\"num_class\":\"0\"", "\"num_class\":\"300\"", "300 outputs, at most 256");
    x("\"num_class\":\"0\"", "\"num_class\":\"-1\"", "num_class: \"-1\" is no count");
    x("\"tree_info\":[0]", "\"tree_info\":[1]", "tree_info[0]: output 1 of 1");
    x("\"tree_info\":[0]", "\"tree_info\":[]", "tree_info: 0 values for 1 trees");
    x("[1,3,-1,-1,-1]", "[1,0,-1,-1,-1]", &at(".left_children[1]: child 0 has two parents, or is its own ancestor"));
    x("[1,3,-1,-1,-1]", "[1,2,-1,-1,-1]", &at(".left_children[1]: child 2 has two parents"));
    x("[1,3,-1,-1,-1]", "[1,9,-1,-1,-1]", &at(".left_children[1]: child 9 of 5 nodes"));
    x("[1,3,-1,-1,-1]", "[1,3,-1,-1,9000000000]", &at(".left_children[4]"));
    x("[1,3,-1,-1,-1]", "[]", &at(".left_children: empty"));
    x("[0.5,NaN", "[NaN,NaN", &at(".split_conditions[0]: a threshold that is not a number"));
    x("1.5,2.5", "NaN,2.5", &at(".split_conditions[2]: a leaf that is not a finite number"));
    x("[0,1,0,0,0],\"left", "[0,1,0,0],\"left", &at(".default_left: 4 values, but there are 5 nodes"));
    x("\"split_indices\":[0,1", "\"split_indices\":[7,1", &at(".split_indices[0]: feature 7 of 2"));
    x("\"categories_sizes\":[1]", "\"categories_sizes\":[9]", &at(".categories_sizes: 9 categories in all"));
    x("\"categories_segments\":[0]", "\"categories_segments\":[7]", &at(".categories_segments[0]: 1 from 7"));
    x("\"categories_nodes\":[1]", "\"categories_nodes\":[2]", &at(".split_type[1]: asks for a category, but has none"));
    x("\"categories\":[2]", "\"categories\":[16777216]", &at(".categories: category 16777216"));
    x("\"version\":[3,2,0]", "\"learner\":{}", "duplicate field `learner`");
    let deep = XGBOOST.replace("\"attributes\":{}", &format!("\"more\":{}1{}", "[".repeat(9999), "]".repeat(9999)));
    assert!(read("hero", deep.as_bytes(), None).is_ok(), "what decides no prediction is skipped, however deep it is");
    for end in (0..XGBOOST.len()).step_by(7) {
        assert!(read("hero", &XGBOOST.as_bytes()[..end], None).is_err(), "cut off at {end}");
    }
}

#[test]
fn a_wrong_lightgbm_model_is_told_at_its_path() {
    let l = |from, to, expected| changed(LIGHTGBM, from, to, expected);
    l("version=v4", "version=v5", "version: \"v5\" is unknown");
    l("binary sigmoid:1", "binary sigmoid:0", "objective: \"binary sigmoid:0\": the sigmoid is no number above 0");
    l("binary sigmoid:1", "oracle", "objective: the objective \"oracle\" is not supported");
    l("binary sigmoid:1", "multiclass num_class:3", "objective: \"multiclass\" with 1 outputs");
    l("num_tree_per_iteration=1", "num_tree_per_iteration=0", "num_tree_per_iteration: 0 for 1 trees");
    l("max_feature_idx=1", "max_feature_idx=99999999999", "100000000000 features, at most 100000");
    l("is_linear=0", "is_linear=1", "Tree=0.is_linear: linear trees are not supported");
    l("num_leaves=3", "num_leaves=4000000000", "Tree=0.num_leaves: 4000000000 is not between");
    l("num_leaves=3", "num_leaves=2", "Tree=0.leaf_value: 3 values, expected 2");
    l("leaf_value=1 2", "leaf_value=inf 2", "Tree=0.leaf_value[0]: not a finite number");
    l("left_child=1 -1", "left_child=0 -1", "Tree=0.left_child[0]: child 0 has two parents");
    l("left_child=1 -1", "left_child=1 -2", "child 3 has two parents");
    l("left_child=1 -1", "left_child=1 -9", "Tree=0.left_child[1]: child 10 of 5 nodes");
    l("left_child=1 -1", "left_child=1 -9223372036854775808", "Tree=0.left_child[1]: child");
    l("threshold=0.5", "threshold=nan", "Tree=0.threshold[0]: not a number");
    l("threshold=0.5", "threshold=half", "Tree=0.threshold[0]: \"half\" is no number");
    l("threshold=0.5 0", "threshold=0.5 1", "Tree=0.threshold[1]: set 1 of 1");
    l("decision_type=10", "decision_type=12", "Tree=0.decision_type[0]: 12 has no known type");
    l("split_feature=0", "split_feature=2", "Tree=0.split_feature[0]: feature 2 of 2");
    l("cat_boundaries=0 1", "cat_boundaries=0 2", "Tree=0.cat_threshold: 1 values, expected 2");
    l("cat_boundaries=0 1", "cat_boundaries=2 1", "Tree=0.cat_boundaries[0]: 2 to 1 are no words of a set");
    l("num_cat=1", "num_cat=18446744073709551615", "Tree=0.cat_boundaries: 2 values");
    l("shrinkage=1", "num_cat=1", "Tree=0.num_cat: stands twice");
    l("Tree=0", "Tree=1", "Tree=1 where Tree=0 is expected");
    l("tree_sizes=1", "tree_sizes=1 2", "tree_sizes: 2 sizes, but there are 1 trees");
    l("end of trees", "", "cut off after 1 trees");
    l("end of parameters", "", "cut off in its parameters");
    l("[categorical_feature: 1]", "[categorical_feature: ]", "pandas_categorical: categories of 1 columns");
    l("[categorical_feature: 1]", "[categorical_feature: 9]", "categorical_feature: feature 9 of 2");
    l("\"y\"", "7", "pandas_categorical[0]: categories must be all texts or all numbers");
    l("\"y\"", "\"x\"", "pandas_categorical[0]: the category \"x\" stands twice");
}

#[test]
fn many_categories_cost_no_more_than_their_size() {
    // A feature of numbers takes a step; all of them are more steps than a pipeline has, which is found on the way.
    const FEATURES: usize = 20_000;
    let list = |one: &str| vec![one; FEATURES].join(",");
    let text = XGBOOST
        .replace(
            r#""feature_names":["a","b"],"feature_types":["float","c"]"#,
            &format!(r#""feature_types":[{}]"#, list("\"c\"")),
        )
        .replace(r#""num_feature":"2""#, &format!(r#""num_feature":"{FEATURES}""#))
        .replace(r#""tree_info""#, &format!(r#""cats":{{"enc":[{}]}},"tree_info""#, list(r#"{"values":[7]}"#)));
    check(&text, "the model has more than 10000 steps");
    let features: Vec<String> = (0..FEATURES).map(|feature| feature.to_string()).collect();
    let text = LIGHTGBM
        .replace("max_feature_idx=1", &format!("max_feature_idx={}", FEATURES - 1))
        .replace("feature_names=a b\n", "")
        .replace("[categorical_feature: 1]", &format!("[categorical_feature: {}]", features.join(",")))
        .replace(r#"[["x", "y", "z"]]"#, &format!("[{}]", list("[7]")));
    check(&text, "the model has more than 10000 steps");
}

#[test]
fn hostile_ubjson_costs_no_more_than_its_size() {
    let check = |bytes: &[u8], expected: &str| {
        let error = read("hero", bytes, None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}; expected {expected:?}");
    };
    let learner = |rest: &[u8]| [b"{i\x07learner{i\x01x", rest].concat();
    check(&learner(b"[$d#L\x7f\xff\xff\xff\xff\xff\xff\xff"), "values, but only 0 bytes follow");
    check(&learner(b"[$Z#L\x7f\xff\xff\xff\xff\xff\xff\xff"), "values of a type that takes no bytes");
    check(&learner(b"[$d"), "a type without a count");
    check(&learner(b"SL\x7f\xff\xff\xff\xff\xff\xff\xff"), "the file ends");
    check(&learner(b"Si\xff"), "the length -1");
    check(&learner(&[b'['; 9999]), "nested deeper than 64");
    check(&learner(&b"{i\x01a".repeat(9999)), "nested deeper than 64");
    check(&learner(b"Q"), "'Q' is not the type of a value");
    check(&learner(b"}}"), "'}' is not the type of a value");
    check(b"{i\x07learner{}}", "learner: missing field");
    check(b"{i\x07learneri\x01}", "learner: invalid type");
}
