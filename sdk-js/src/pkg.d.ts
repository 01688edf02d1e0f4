// What `./x engine` builds, for a build without it. Where it is there, its own types count.

declare module "*/engine/pkg/engine.js" {
  export const Engine: any;
  export type Engine = any;
  export const initSync: any;
}
