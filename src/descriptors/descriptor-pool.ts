import protobuf from 'google-protobuf';
import descriptors from 'google-protobuf/google/protobuf/descriptor_pb.js';
import { ReapiError } from '../errors.ts';
import { fileDescriptorSet } from '../gen/descriptors.ts';
import { indexFile } from './index-file.ts';
import type { EnumSchema, FileSchema, MessageSchema, ServiceSchema } from './schema.ts';

/** FileDescriptorSet.file. */
const FILE_FIELD = 1;

/** The schemas of a FileDescriptorSet, found by name. Immutable once made. */
export class DescriptorPool {
  readonly #files = new Map<string, FileSchema>();
  readonly #fileOfSymbol = new Map<string, FileSchema>();
  readonly #messages = new Map<string, MessageSchema>();
  readonly #enums = new Map<string, EnumSchema>();
  readonly #services = new Map<string, ServiceSchema>();

  /**
   * @param set a serialized google.protobuf.FileDescriptorSet that holds all it imports.
   * @throws invalid-argument: it does not parse.
   */
  constructor(set: Uint8Array) {
    for (const bytes of fileBytes(set)) this.#add(bytes);
  }

  /** The schemas this program was built with. */
  static builtIn(): DescriptorPool {
    return new DescriptorPool(Buffer.from(fileDescriptorSet, 'base64'));
  }

  /** A file by the name imports spell, or undefined. */
  file(name: string): FileSchema | undefined {
    return this.#files.get(name);
  }

  /** The file that declares a message, enum, enum value, field, oneof, service or method, or undefined. */
  fileOf(symbol: string): FileSchema | undefined {
    return this.#fileOfSymbol.get(symbol);
  }

  /** A message by its full name, or undefined. */
  message(fullName: string): MessageSchema | undefined {
    return this.#messages.get(fullName);
  }

  /** An enum by its full name, or undefined. */
  enum(fullName: string): EnumSchema | undefined {
    return this.#enums.get(fullName);
  }

  /** A service by its full name, or undefined. */
  service(fullName: string): ServiceSchema | undefined {
    return this.#services.get(fullName);
  }

  /** All messages, in the order of the set. */
  messages(): readonly MessageSchema[] {
    return [...this.#messages.values()];
  }

  /** All services, in the order of the set. */
  services(): readonly ServiceSchema[] {
    return [...this.#services.values()];
  }

  /** `file`, then every file it imports directly or through others, each once. */
  withDependencies(file: FileSchema): readonly FileSchema[] {
    const found = new Set([file]);
    // A set yields what is added to it while it is walked.
    for (const one of found) {
      for (const name of one.dependencies) {
        const dependency = this.#files.get(name);
        if (dependency !== undefined) found.add(dependency);
      }
    }
    return [...found];
  }

  #add(bytes: Uint8Array): void {
    const descriptor = descriptors.FileDescriptorProto.deserializeBinary(bytes);
    const file = { name: descriptor.getName() ?? '', bytes, dependencies: descriptor.getDependencyList() };
    const index = indexFile(descriptor);
    this.#files.set(file.name, file);
    for (const symbol of index.symbols) this.#fileOfSymbol.set(symbol, file);
    for (const message of index.messages) this.#messages.set(message.fullName, message);
    for (const type of index.enums) this.#enums.set(type.fullName, type);
    for (const service of index.services) this.#services.set(service.fullName, service);
  }
}

/** The files as they are in the set: parsing and writing them again would drop options nobody here knows. */
function fileBytes(set: Uint8Array): readonly Uint8Array[] {
  const files: Uint8Array[] = [];
  try {
    const reader = new protobuf.BinaryReader(set);
    while (reader.nextField()) {
      if (reader.getFieldNumber() === FILE_FIELD) files.push(reader.readBytes());
      else reader.skipField();
    }
  } catch (error) {
    throw new ReapiError('invalid-argument', 'the descriptor set does not parse', { cause: error });
  }
  return files;
}
