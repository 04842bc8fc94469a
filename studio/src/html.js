/** Templates of the page: htm on Preact, no compile step to read them. */
import { h } from "preact";
import htm from "htm";

export const html = htm.bind(h);
