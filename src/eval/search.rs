//! In: a number of layers to keep and a way to measure a plan. Out: the plan with the least loss that was found.

/// Takes layers out one at a time, each time the one whose loss is least; then exchanges single layers while that helps.
///
/// `layers` is the depth of the model, `keep` how many stay; `loss` measures the layers it is given. Greedy removal
/// alone stops in the first valley; exchanging one kept layer for one dropped layer leads out of most of them.
pub fn best_plan<E>(
    layers: usize,
    keep: usize,
    mut loss: impl FnMut(&[usize]) -> Result<f64, E>,
) -> Result<(Vec<usize>, f64), E> {
    let found = greedy(layers, keep, &mut loss)?.pop();
    exchange(layers, found.unwrap_or_default(), loss)
}

/// Exchanges single kept layers for dropped ones while that lowers the loss.
///
/// # Errors
/// What `loss` returns.
pub fn exchange<E>(
    layers: usize,
    (mut best, mut least): (Vec<usize>, f64),
    mut loss: impl FnMut(&[usize]) -> Result<f64, E>,
) -> Result<(Vec<usize>, f64), E> {
    loop {
        let (candidate, candidate_loss) = least_of(exchanged(&best, layers), &mut loss)?;
        if candidate.is_empty() || candidate_loss >= least {
            return Ok((best, least));
        }
        (best, least) = (candidate, candidate_loss);
    }
}

/// Takes layers out one at a time, each time the one whose loss is least, measured anew (arXiv 2402.09025): the layers that are left
/// and their loss, from the whole model on.
///
/// # Errors
/// What `loss` returns.
pub fn greedy<E>(
    layers: usize,
    keep: usize,
    mut loss: impl FnMut(&[usize]) -> Result<f64, E>,
) -> Result<Vec<(Vec<usize>, f64)>, E> {
    let mut best: Vec<usize> = (0..layers).collect();
    let mut path = vec![(best.clone(), loss(&best)?)];
    while best.len() > keep.max(1) {
        let removed = least_of(without_one(&best), &mut loss)?;
        best.clone_from(&removed.0);
        path.push(removed);
    }
    Ok(path)
}

fn least_of<E>(
    plans: Vec<Vec<usize>>,
    loss: &mut impl FnMut(&[usize]) -> Result<f64, E>,
) -> Result<(Vec<usize>, f64), E> {
    let mut best = (Vec::new(), f64::INFINITY);
    for plan in plans {
        let loss = loss(&plan)?;
        if loss < best.1 {
            best = (plan, loss);
        }
    }
    Ok(best)
}

fn without_one(plan: &[usize]) -> Vec<Vec<usize>> {
    (0..plan.len())
        .map(|out| {
            plan.iter()
                .copied()
                .enumerate()
                .filter(|(i, _)| *i != out)
                .map(|(_, l)| l)
                .collect()
        })
        .collect()
}

fn exchanged(plan: &[usize], layers: usize) -> Vec<Vec<usize>> {
    let dropped = (0..layers).filter(|layer| !plan.contains(layer));
    dropped
        .flat_map(|new| {
            without_one(plan).into_iter().map(move |mut rest| {
                rest.push(new);
                rest.sort_unstable();
                rest
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanging_leaves_the_valley_that_greedy_removal_ends_in() {
        // Layer 0 alone looks dispensable, and 1 and 2 are worth nothing without it.
        let loss = |plan: &[usize]| -> Result<f64, ()> {
            let has = |layer| plan.contains(&layer);
            Ok(match (has(0), has(1), has(2), has(3)) {
                (true, true, _, _) if plan.len() == 2 => 0.0,
                _ if plan.len() > 2 => {
                    if has(3) {
                        1.0
                    } else {
                        2.0
                    }
                }
                _ => 5.0 - f64::from(u8::from(has(0))),
            })
        };
        assert_eq!(best_plan(4, 2, loss), Ok((vec![0, 1], 0.0)));
    }
}
