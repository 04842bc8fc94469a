/** What several modules speak of. First what the server says, as far as the page reads it. */

type RunState = "queued" | "running" | "succeeded" | "failed" | "cancelled";
type Inputs = Record<string, any>;
type Preview = { url: string; step: number; steps: number; seconds: number };
type Output = {
  url: string; content_type: string; bytes: number; kind: string; file_name: string; asset: string;
  expired: boolean;
};
type RunNode = {
  id: string; stage: string; state: string; step: number | null; steps: number | null;
  seconds: number | null; error: string | null; preview: Preview | null;
};
type Problem = { message: string; file: string; line: number };
type Fault = {
  code: string; message: string; node?: string | null; field?: string | null; allowed?: string | null;
  problems?: Problem[];
};
type Run = {
  id: string; graph: string; state: RunState; progress: number; created_at: string; started_at: string | null;
  finished_at: string | null; seconds: number | null; format: string; preview_every: number | null;
  cancel_requested: boolean; outputs: Record<string, Output | Output[]>; error: Fault | null;
  warnings: string[]; labels: Record<string, string>; inputs?: Inputs; nodes?: RunNode[];
  queue_position?: number | null; estimate?: any;
};
type RunEvent = {
  number: number; type: string; run: string; seq: number; node: string; stage: string; step?: number;
  steps?: number; seconds?: number; progress?: number;
};
type GraphEntry = { name: string; summary: string; url: string; ok: boolean };
type Preset = { name: string; tags: string; model?: string | null };
type Example = { name: string; graph: string; language: string; inputs: Inputs };
type Model = { name: string; notes: string[]; sampling: Record<string, any> };
type Upload = { id: string; file_name: string; details?: { seconds?: number } };

/* What the page itself is made of. */

type Signal<T> = import("@preact/signals").Signal<T>;
type View = import("./form/view.js").View;
type Field = import("./form/schema.js").Field;
type Draft = import("./form/drafts.js").Draft;
type Origin = import("./form/origin.js").Origin;
type Sound = import("./listen/sounds.js").Sound;
type Reports = import("./listen/locality.js").Reports;

/** A control of the form gets its field, and what the server says against its value. */
type FieldProps = { view: View; field: Field; id: string; error?: string };

declare module "*.css";
