// The end of a pass: the token that was picked becomes the next input, and the step moves on. The CPU is not asked.
@group(0) @binding(IDS) var<storage, read_write> ids: array<u32>;         // (1 or more): row 0 is the next input
@group(0) @binding(STEP) var<storage, read_write> step: array<u32>;       // (2): position, rows
@group(0) @binding(GRID) var<storage, read_write> grid: array<u32>;       // (3): workgroups of the next attention
@group(0) @binding(HISTORY) var<storage, read_write> history: array<u32>; // (RING): the token at position p lies at p % RING

fn feed_back(next: u32) {
    let position = step[0] + step[1];
    ids[0] = next;
    history[position % RING] = next;
    step[0] = position;
    step[1] = 1u;
    grid[0] = KV_HEADS;
    grid[1] = split_count(min(position + 1u, CONTEXT));
    grid[2] = 1u;
}
