/** A long list of which only the rows near the visible part are drawn. The others are room of their height. */
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { html } from "../html.js";

/** Pixels of a row that was not drawn yet. */
const USUAL = 52;
/** Pixels drawn above and below what is visible. */
const MARGIN = 600;
/** Pixels of scrolling after which others are drawn. */
const STRIDE = 200;

/** How far a list is scrolled out of its pane at the top. @param {HTMLElement} list @param {Element} pane */
const scrolled = (list, pane) => pane.getBoundingClientRect().top - list.getBoundingClientRect().top;

/**
 * @template {{key: string}} T
 * @param {{items: T[], row: (item: T, place: {at: number, count: number}) => any, shown: string | null,
 *   [attribute: string]: any}} props  `row` makes one element; `shown` is the key of the row to scroll to
 */
export function Windowed({ items, row, shown, ...rest }) {
  const list = useRef(/** @type {HTMLElement | null} */ (null));
  /** Heights of rows that were drawn. @type {{current: Map<string, number>}} */
  const heights = useRef(new Map());
  const [visible, look] = useState({ top: 0, bottom: 900 });
  let height = 0;
  const tops = items.map(({ key }) => {
    const top = height;
    height += heights.current.get(key) ?? USUAL;
    return top;
  });
  const first = Math.max(0, tops.findLastIndex((top) => top <= visible.top - MARGIN));
  const after = tops.findIndex((top) => top > visible.bottom + MARGIN);
  const last = after < 0 ? items.length : after;
  useLayoutEffect(() => {
    const box = /** @type {HTMLElement} */ (list.current?.closest(".pane"));
    const see = () => {
      const top = Math.floor(scrolled(/** @type {HTMLElement} */ (list.current), box) / STRIDE) * STRIDE;
      const bottom = top + Math.ceil(box.clientHeight / STRIDE + 1) * STRIDE;
      look((now) => (now.top === top && now.bottom === bottom ? now : { top, bottom }));
    };
    const observer = new ResizeObserver(see);
    observer.observe(box);
    box.addEventListener("scroll", see, { passive: true });
    return () => {
      observer.disconnect();
      box.removeEventListener("scroll", see);
    };
  }, []);
  useLayoutEffect(() => {
    const drawn = /** @type {HTMLElement[]} */ ([...(list.current?.children ?? [])]);
    const measured = drawn.map((element) => element.offsetHeight);
    measured.forEach((pixels, i) => pixels && heights.current.set(items[first + i].key, pixels));
  });
  const place = shown === null ? -1 : items.findIndex(({ key }) => key === shown);
  useEffect(() => {
    const box = list.current?.closest(".pane");
    if (!list.current || !box || place < 0) return;
    const above = scrolled(list.current, box);
    const [top, height] = [tops[place], heights.current.get(items[place].key) ?? USUAL];
    const isSeen = top > above && top + height < above + box.clientHeight;
    if (!isSeen) box.scrollBy(0, top - above - box.clientHeight / 3);
  }, [shown, place < 0]);
  const room = { paddingTop: `${tops[first] ?? 0}px`, paddingBottom: `${height - (tops[last] ?? height)}px` };
  const rows = items
    .slice(first, last)
    .map((item, i) => row(item, { at: first + i + 1, count: items.length }));
  return html`<ul ref=${list} style=${room} ...${rest}>${rows}</ul>`;
}
