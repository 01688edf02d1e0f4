// The client for script elements: `selvedge.createClient`.

import { createClient } from "./client.js";

(globalThis as unknown as { selvedge: object }).selvedge = { createClient };
