// A vendor's OpenAPI 3.0 description as the judge of every request and every answer.
//
// In: the parsed description, requests and answers. Out: what does not agree with it, in words; and answers made
// complete: fields that the description requires and the stand-in does not model get the plainest value that the
// schema allows, so that a client meets a body as large and as odd as the real one. Never: an answer made valid by
// leaving the description out.

const METHODS = ['get', 'put', 'post', 'patch', 'delete'];

export class Contract {
  // `ajv`, `formats`: the validator and its formats; `generic`: statuses that the vendor gives everywhere and
  // describes in prose only, each with the schema of its body (or null).
  constructor(description, { ajv, formats, generic }) {
    this.root = adapted(description);
    this.generic = generic;
    this.ajv = new ajv({ strict: false, allErrors: false, validateFormats: true, inlineRefs: false });
    formats(this.ajv);
    for (const it of ['uri-template', 'repo.nwo']) this.ajv.addFormat(it, true);
    this.ajv.addSchema(this.root, 'vendor');
    this.compiled = new Map();
    this.operations = [];
    for (const [template, item] of Object.entries(this.root.paths)) {
      for (const method of METHODS.filter((it) => item[it])) {
        this.operations.push({ method: method.toUpperCase(), template, ...shapeOf(template), at: item[method] });
      }
    }
  }

  // The operation of a request: literal segments win over parameters. `segments` are still encoded.
  operation(method, segments) {
    let best = null;
    for (const it of this.operations) {
      if (it.method !== method || it.segments.length !== segments.length) continue;
      const fits = it.segments.every((want, i) => want.startsWith('{') || want === segments[i]);
      if (fits && (!best || it.literals > best.literals)) best = it;
    }
    return best;
  }

  // What is wrong with a request, or null.
  request(operation, { query, body, hasBody }) {
    const parameters = (operation.at.parameters ?? []).map((it) => this.resolved(it));
    for (const [name, value] of query) {
      const known = parameters.find((it) => it.in === 'query' && it.name === name);
      if (!known) return `the query parameter ${name} is not described`;
      const wrong = this.check(known.schema, coerced(this.resolved(known.schema), value));
      if (wrong) return `query parameter ${name}: ${wrong}`;
    }
    const missing = parameters.find((it) => it.in === 'query' && it.required && !query.has(it.name));
    if (missing) return `the query parameter ${missing.name} is missing`;
    const described = operation.at.requestBody && this.resolved(operation.at.requestBody);
    const schema = described?.content?.['application/json']?.schema;
    if (!hasBody) return described?.required ? 'the body is missing' : null;
    if (!schema) return isEmpty(body) ? null : 'a body is not described';
    return this.check(schema, body) ?? this.unknownField(schema, body);
  }

  // What is wrong with an answer, or null.
  response(operation, status, body) {
    const schema = this.schemaOf(operation, status);
    if (schema === undefined) return `the status ${status} is not described`;
    if (schema === null) return body === undefined ? null : `a body with ${status} is not described`;
    if (body === undefined) return `the body of ${status} is missing`;
    // Errors carry more than their schemas say, everywhere.
    return this.check(schema, body) ?? (status < 400 ? this.unknownField(schema, body) : null);
  }

  // The answer with everything that the description requires beside what the stand-in knows.
  completed(operation, status, body) {
    const schema = this.schemaOf(operation, status);
    return schema && body !== undefined ? this.fill(schema, body, 0) : body;
  }

  // undefined: not described; null: without a body.
  schemaOf(operation, status) {
    const found = operation.at.responses[status];
    if (!found) return this.generic[status];
    const content = this.resolved(found).content;
    if (!content && status >= 400) return this.generic[status] ?? null;
    return content ? content['application/json']?.schema ?? {} : null;
  }

  resolved(it) {
    let found = it;
    while (found?.$ref) {
      found = found.$ref.replace(/^#\//, '').split('/').reduce((at, key) => at?.[unescaped(key)], this.root);
    }
    return found;
  }

  check(schema, value) {
    let validate = this.compiled.get(schema);
    if (!validate) {
      validate = this.ajv.compile(rebased(schema));
      this.compiled.set(schema, validate);
    }
    if (validate(value)) return null;
    const [first] = validate.errors;
    return `${first.instancePath || '/'} ${first.message} ${JSON.stringify(first.params)}`;
  }

  // A field that the description does not know is a made-up one, on either side.
  unknownField(schema, value) {
    const plain = this.resolved(schema);
    if (plain?.type === 'array' && Array.isArray(value)) {
      return value.map((it) => this.unknownField(plain.items, it)).find(Boolean) ?? null;
    }
    if (!plain?.properties || plain.additionalProperties || !value || typeof value !== 'object') return null;
    const found = Object.keys(value).find((it) => !(it in plain.properties));
    return found ? `the field ${found} is not described` : null;
  }

  fill(schema, given, depth) {
    const plain = this.chosen(schema, given);
    if (given === null || given === undefined || depth > 12) return given;
    if (Array.isArray(given)) return given.map((it) => this.fill(plain.items ?? {}, it, depth + 1));
    if (typeof given !== 'object') return given;
    const { properties, required } = this.members(plain);
    const full = { ...given };
    for (const name of required) {
      if (full[name] === undefined) full[name] = this.plainest(properties[name] ?? {}, depth + 1);
    }
    for (const [name, value] of Object.entries(full)) {
      if (properties[name]) full[name] = this.fill(properties[name], value, depth + 1);
    }
    return full;
  }

  // Properties and required names, `allOf` taken together.
  members(schema) {
    const plain = this.resolved(schema);
    let properties = { ...plain.properties };
    let required = [...(plain.required ?? [])];
    for (const part of plain.allOf ?? []) {
      const of = this.members(part);
      properties = { ...of.properties, ...properties };
      required = [...required, ...of.required];
    }
    return { properties, required };
  }

  // Of several alternatives, the one whose own fields are given (`null` never is).
  chosen(schema, given) {
    const plain = this.resolved(schema) ?? {};
    const all = plain.anyOf ?? plain.oneOf;
    if (!all || given === undefined || given === null) return plain;
    const kinds = all.filter((it) => this.resolved(it).type !== 'null').map((it) => this.chosen(it, given));
    const score = (it) => {
      const { properties } = this.members(it);
      return Object.entries(given).reduce((sum, [name, value]) => {
        const values = this.resolved(properties[name])?.enum;
        if (values) return sum + (values.includes(value) ? 8 : -8);
        return sum + (name in properties ? 1 : -1);
      }, 0);
    };
    return typeof given === 'object' ? kinds.reduce((a, b) => (score(b) > score(a) ? b : a)) : kinds[0];
  }

  plainest(schema, depth) {
    const plain = this.resolved(schema) ?? {};
    if (plain.default !== undefined) return plain.default;
    const kinds = [plain.type].flat();
    if (kinds.includes('null')) return null;
    const all = plain.anyOf ?? plain.oneOf;
    if (all) {
      if (all.some((it) => this.resolved(it).type === 'null')) return null;
      return this.plainest(all[0], depth);
    }
    if (plain.enum) return plain.enum[0];
    if (plain.allOf || plain.properties || kinds[0] === 'object') return this.fill(plain, {}, depth);
    if (kinds[0] === 'array') return [];
    if (kinds[0] === 'integer' || kinds[0] === 'number') return plain.minimum ?? 0;
    if (kinds[0] === 'boolean') return false;
    return { uri: 'https://example.com/', 'date-time': '2026-01-01T00:00:00Z', date: '2026-01-01',
      email: 'nobody@example.com' }[plain.format] ?? 'x'.repeat(plain.minLength ?? 0);
  }
}

function shapeOf(template) {
  const segments = template.split('/').slice(1);
  return { segments, literals: segments.filter((it) => !it.startsWith('{')).length };
}

const unescaped = (key) => key.replaceAll('~1', '/').replaceAll('~0', '~');
const isEmpty = (body) => body && typeof body === 'object' && Object.keys(body).length === 0;

function coerced(schema, text) {
  const kinds = [schema?.type].flat();
  if ((kinds.includes('integer') || kinds.includes('number')) && /^-?\d+$/.test(text)) return Number(text);
  if (kinds.includes('boolean') && /^(true|false)$/.test(text)) return text === 'true';
  return text;
}

// References of a part, as seen from outside the description.
function rebased(it) {
  if (Array.isArray(it)) return it.map(rebased);
  if (!it || typeof it !== 'object') return it;
  return Object.fromEntries(Object.entries(it).map(([key, value]) =>
    [key, key === '$ref' && typeof value === 'string' ? `vendor${value}` : rebased(value)]));
}

// OpenAPI 3.0 as JSON Schema: `nullable` becomes a type of its own; examples are no part of a schema.
function adapted(it) {
  if (Array.isArray(it)) return it.map(adapted);
  if (!it || typeof it !== 'object') return it;
  const { nullable, example, ...rest } = it;
  const plain = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, adapted(value)]));
  if (typeof example === 'object' && !('type' in it || '$ref' in it)) plain.example = example;
  if (nullable !== true) return plain;
  if (typeof plain.type !== 'string') return { anyOf: [plain, { type: 'null' }] };
  return { ...plain, type: [plain.type, 'null'], ...(plain.enum && { enum: [...plain.enum, null] }) };
}
