export const SCRIPT_BYTES: number;
export function engineBytes(): number;
