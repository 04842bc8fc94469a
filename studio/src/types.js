/**
 * What the server says, as far as the page reads it.
 *
 * @typedef {"queued" | "running" | "succeeded" | "failed" | "cancelled"} RunState
 * @typedef {{url: string, content_type: string, bytes: number, kind: string, file_name: string, asset: string,
 *   expired: boolean}} Output
 * @typedef {{url: string, step: number, steps: number, seconds: number}} Preview
 * @typedef {{id: string, stage: string, state: string, step: number | null, steps: number | null,
 *   seconds: number | null, error: string | null, preview: Preview | null}} RunNode
 * @typedef {{code: string, message: string, node?: string | null, field?: string | null, allowed?: string | null}} Fault
 * @typedef {Record<string, any>} Inputs
 * @typedef {{id: string, graph: string, state: RunState, progress: number, created_at: string, started_at: string | null,
 *   finished_at: string | null, seconds: number | null, format: string, preview_every: number | null,
 *   cancel_requested: boolean, outputs: Record<string, Output | Output[]>, error: Fault | null, warnings: string[],
 *   labels: Record<string, string>, inputs?: Inputs, nodes?: RunNode[], queue_position?: number | null,
 *   estimate?: any}} Run
 * @typedef {{number: number, type: string, run: string, seq: number, node: string, stage: string, step?: number,
 *   steps?: number, seconds?: number, progress?: number}} RunEvent
 * @typedef {{name: string, summary: string, url: string, ok: boolean}} GraphEntry
 * @typedef {{name: string, notes: string[], sampling: Record<string, any>}} Model
 */
export {};
