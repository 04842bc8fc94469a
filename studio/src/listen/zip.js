/**
 * A ZIP archive of files as they are (APPNOTE 6.3.10: local headers, central directory, its end; method 0).
 */

const TABLE = Uint32Array.from({ length: 256 }, (_, i) => {
  let value = i;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** @param {Uint8Array} content */
function checksum(content) {
  let value = 0xffffffff;
  for (const byte of content) value = TABLE[(value ^ byte) & 0xff] ^ (value >>> 8);
  return ~value >>> 0;
}

/** Little-endian numbers of two or four bytes. @param {[number, 2 | 4][]} fields */
function record(fields) {
  const view = new DataView(new ArrayBuffer(fields.reduce((sum, [, size]) => sum + size, 0)));
  let at = 0;
  for (const [value, size] of fields) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return new Uint8Array(view.buffer);
}

/** @param {Date} date @returns {[number, number]} time and day as DOS had them */
const dosTime = (date) => [
  (date.getHours() << 11) | (date.getMinutes() << 5) | (date.getSeconds() >> 1),
  ((date.getFullYear() - 1980) << 9) | ((date.getMonth() + 1) << 5) | date.getDate(),
];

/** @param {{name: string, content: Blob}[]} files @param {Date} date @returns {Promise<Blob>} */
export async function zip(files, date) {
  const [time, day] = dosTime(date);
  const UTF8 = 1 << 11;
  /** @type {(Blob | Uint8Array<ArrayBuffer>)[]} */
  const body = [];
  /** @type {Uint8Array<ArrayBuffer>[]} */
  const directory = [];
  let at = 0;
  for (const { name, content } of files) {
    const path = new TextEncoder().encode(name);
    const sum = checksum(new Uint8Array(await content.arrayBuffer()));
    /** @type {[number, 2 | 4][]} */
    const common = [
      [20, 2],
      [UTF8, 2],
      [0, 2],
      [time, 2],
      [day, 2],
      [sum, 4],
      [content.size, 4],
      [content.size, 4],
      [path.length, 2],
      [0, 2],
    ];
    body.push(record([[0x04034b50, 4], ...common]), path, content);
    directory.push(
      record([[0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]]),
      path,
    );
    at += 30 + path.length + content.size;
  }
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end = record([
    [0x06054b50, 4],
    [0, 2],
    [0, 2],
    [files.length, 2],
    [files.length, 2],
    [size, 4],
    [at, 4],
    [0, 2],
  ]);
  return new Blob([...body, ...directory, end], { type: "application/zip" });
}
