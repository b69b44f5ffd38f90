//! Layer plans: what they keep and what they refuse.

use halfdepth::plan::{LayerPlan, PlanError};

#[test]
fn constructors_keep_the_layers_they_say() {
    let rows = [
        (LayerPlan::full(3), "full", vec![0, 1, 2]),
        (LayerPlan::simple(12, 6), "half", vec![0, 1, 2, 3, 4, 11]),
        (LayerPlan::simple(5, 2), "half", vec![0, 1, 4]),
        (
            LayerPlan::simple(12, 2),
            "simple-2",
            (0..9).chain([11]).collect(),
        ),
        (LayerPlan::simple(4, 0), "simple-0", vec![0, 1, 2, 3]),
        (LayerPlan::simple(4, 3), "simple-3", vec![3]),
        (LayerPlan::simple(1, 0), "simple-0", vec![0]),
        (
            LayerPlan::without(6, &[4, 1, 4]),
            "without-1-4",
            vec![0, 2, 3, 5],
        ),
        (LayerPlan::without(2, &[]), "full", vec![0, 1]),
        (LayerPlan::new("mine", vec![1, 3], 4), "mine", vec![1, 3]),
    ];
    for (plan, name, layers) in rows {
        let plan = plan.unwrap();
        assert_eq!((plan.name.as_str(), &plan.layers), (name, &layers));
    }
}

#[test]
fn lists_that_are_no_plan_are_named() {
    let rows = [
        (LayerPlan::full(0), "no layer is left"),
        (LayerPlan::simple(4, 4), "4 of 4 layers cannot be dropped"),
        (LayerPlan::without(2, &[0, 1]), "no layer is left"),
        (
            LayerPlan::without(2, &[2]),
            "there is no layer 2; layers are 0 to 1",
        ),
        (
            LayerPlan::new("p", vec![0, 0], 4),
            "layer 0 does not follow layer 0",
        ),
        (
            LayerPlan::new("p", vec![2, 1], 4),
            "layer 1 does not follow layer 2",
        ),
        (
            LayerPlan::new("p", vec![1, usize::MAX], 4),
            "there is no layer 18446744073709551615",
        ),
        (
            LayerPlan::new("", vec![0], 4),
            "1 to 64 printable characters",
        ),
        (
            LayerPlan::new("a\nb", vec![0], 4),
            "1 to 64 printable characters",
        ),
        (
            LayerPlan::new("x".repeat(65), vec![0], 4),
            "1 to 64 printable characters",
        ),
    ];
    for (plan, expected) in rows {
        let error: PlanError = plan.unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}
