// What `@selvedge/sdk` exports.

export { createClient } from "./client.js";
export type * from "./types.js";
