// How many workgroups share one attention: a tile of the context each, then several tiles each.
fn split_count(visible: u32) -> u32 {
    return clamp((visible + TILE - 1u) / TILE, 1u, MAX_SPLITS);
}
