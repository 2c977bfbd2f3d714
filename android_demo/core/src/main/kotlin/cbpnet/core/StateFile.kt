package cbpnet.core

import java.security.MessageDigest

private const val FORMAT = "cbpnet-mobile learner state"
private const val VERSION = 3

/** What must be the same for a state to go on with a bundle, and what to call it. */
private val MUST_AGREE = mapOf(
    "backbone" to "backbone",
    "weights" to "backbone's weights",
    "dim" to "backbone's width",
    "preprocessing" to "treatment of images",
    "config" to "settings",
)

/** The state file is truncated or was changed; an older one may be intact. */
public class DamagedStateException(message: String, cause: Throwable? = null) : InputException(message, cause)

/**
 * A state file's bytes: the same file that the laptop and the Raspberry Pi read and write.
 *
 * docs/bundle.md describes it: safetensors, with labels, progress and a checksum as metadata.
 */
public fun encodeState(knowledge: Knowledge, manifest: Manifest): ByteArray {
    val fit = stateIdentity(manifest).entries
    val journal = knowledge.journal
    val progress = mapOf("lessons" to JsonNumber(knowledge.lessons)) + savingJson(knowledge.saving)
    val tensors = knowledge.state.mapValues { StoredTensor.of(it.value) } + journal?.let(::journalTensors).orEmpty()
    val info = JsonObject(
        fit + mapOf(
            "classes" to JsonNumber(manifest.classes),
            "tasks" to JsonNumber(manifest.tasks),
            "class_names" to JsonArray(knowledge.classNames.map(::JsonText)),
            "progress" to JsonObject(progress + journal?.let { mapOf("journal" to journalJson(it)) }.orEmpty()),
        ),
    ).toString()
    val metadata = mapOf(
        "format" to FORMAT,
        "format_version" to VERSION.toString(),
        "info" to info,
        "sha256" to checksum(info, tensors),
    )
    return Safetensors(metadata, tensors).toBytes()
}

/**
 * Reads a state file's bytes; one with less capacity than the bundle gets the bundle's.
 *
 * @param name what messages call the file.
 * @throws DamagedStateException they are cut short, changed, or contradict themselves.
 * @throws InputException they are no state, one of a newer format, or of another bundle.
 */
public fun decodeState(bytes: ByteArray, manifest: Manifest, name: String): Knowledge = try {
    val file = Safetensors.parse(bytes)
    checkFormat(file.metadata, name)
    val info = file.metadata["info"] ?: throw JsonException("its \"info\" is missing")
    if (file.metadata["sha256"] != checksum(info, file.tensors)) throw JsonException("its checksum does not match")
    read(parseJson(info), file.tensors, manifest, name)
} catch (error: JsonException) {
    throw DamagedStateException(
        "The file $name is damaged or no state of a learner: ${error.message}. Use an intact copy.", error,
    )
}

/** The part of a state's `info` in which it and a bundle must agree. */
internal fun stateIdentity(manifest: Manifest): JsonObject {
    val backbone = manifest.backbone
    return JsonObject(
        "backbone" to JsonText(backbone.name),
        "weights" to JsonText(backbone.weights),
        "dim" to JsonNumber(backbone.dim),
        "preprocessing" to manifest.source.child("preprocessing"),
        "config" to manifest.source.child("config"),
    )
}

private fun checkFormat(metadata: Map<String, String>, name: String) {
    if (metadata["format"] != FORMAT) {
        throw InputException(
            "The file $name is not the state of a learner. Choose one that this app or cbpnet-mobile wrote.",
        )
    }
    val version = metadata["format_version"]?.toIntOrNull() ?: throw JsonException("its format version is missing")
    if (version > VERSION) throw otherVersion("state", version, VERSION)
    if (version == VERSION) return
    val older = "The state $name was made by an older cbpnet-mobile, in format version $version"
    throw InputException(
        if (version < 2) {
            "$older. On a laptop, cbpnet-mobile move takes its classes over into a bundle that learns in one pass."
        } else {
            "$older, whose readout was another one. Teach its classes again with a bundle that was exported anew."
        },
    )
}

private fun read(info: JsonObject, tensors: Map<String, StoredTensor>, manifest: Manifest, name: String): Knowledge {
    checkKind(LearnerSettings.read(info.child("config")).onePass, manifest.onePass, name)
    for ((key, ours) in stateIdentity(manifest).entries) {
        val difference = firstDifference(key, info[key], ours) ?: continue
        throw InputException(
            "The state $name belongs to another bundle: its ${MUST_AGREE[key]} are not the bundle's ($difference). " +
                "Choose the bundle that it was learnt with.",
        )
    }
    val (ofJournal, own) = tensors.entries.partition { it.key.startsWith(JOURNAL) }
    val state = own.associate { it.key to it.value.floats() }
    val grown = grow(state, info, manifest, name)
    val classNames = info.texts("class_names")
    checkClasses(grown, classNames, manifest)
    val progress = info.child("progress").entries
    if (progress["kept"] ?: JsonNull != JsonNull) {
        throw InputException(
            "The state $name was saved with kept pictures, which the app cannot take over. Use one that was learnt " +
                "without them (--keep 0).",
        )
    }
    val lessons = progress["lessons"]?.let(::integerOrNull) ?: 0
    val saving = Saving(
        progress["generation"]?.let(::integerOrNull) ?: 0, (progress["inbox"] as? JsonText)?.value.orEmpty(),
    )
    if (!manifest.onePass) return Knowledge(grown, classNames, lessons, saving = saving)

    val json = progress["journal"] ?: return Knowledge(grown, classNames, lessons, Journal(grown, classNames), saving)
    val arrays = ofJournal.associate { it.key to it.value }
    val base = baseTensors(arrays)
    val zeros = state.mapValues { FloatTensor.zeros(it.value.shape) }
    val start = if (base.isEmpty()) grown else grow(zeros + base, info, manifest, name)
    val read = json as? JsonObject ?: throw JsonException("the journal is no object")
    return Knowledge(grown, classNames, lessons, readJournal(read, arrays, start, manifest), saving)
}

private fun savingJson(saving: Saving): Map<String, Json> {
    val inbox = if (saving.inbox.isEmpty()) emptyMap() else mapOf("inbox" to JsonText(saving.inbox))
    return mapOf("generation" to JsonNumber(saving.generation)) + inbox
}

/** Checks that a state and the bundle learn both in one pass, or both in tasks. */
private fun checkKind(found: Boolean, ours: Boolean, name: String) {
    if (ours && !found) {
        throw InputException(
            "The state $name is one of CBPNet's tasks, and the bundle learns in one pass. On a laptop, cbpnet-mobile " +
                "move takes its classes over.",
        )
    }
    if (found && !ours) {
        throw InputException(
            "The state $name is one of a learner in one pass, and the bundle learns in tasks. Choose a bundle that " +
                "learns in one pass.",
        )
    }
}

/** Where two JSON values differ first, with both sides, or null. */
private fun firstDifference(path: String, found: Json, ours: Json): String? {
    if (found == ours) return null
    if (found is JsonObject && ours is JsonObject) {
        for (key in found.entries.keys + ours.entries.keys) {
            val theirs = found.entries[key] ?: JsonNull
            firstDifference("$path.$key", theirs, ours.entries[key] ?: JsonNull)?.let { return it }
        }
    }
    return "$path: $found instead of $ours"
}

/** Tensors of the capacity in a state's [info], in the manifest's capacity and order. */
private fun grow(tensors: State, info: JsonObject, manifest: Manifest, name: String): State {
    val classes = info.integer("classes")
    val tasks = info.integer("tasks")
    if (classes > manifest.classes || tasks > manifest.tasks) {
        val (theirs, ours) = listOf(classes to tasks, manifest.classes to manifest.tasks).map { (classes, tasks) ->
            if (manifest.onePass) "$classes classes" else "$classes classes in $tasks tasks"
        }
        throw InputException(
            "The state $name has room for $theirs, more than the bundle's $ours. Use a bundle with at least as much " +
                "room.",
        )
    }
    if (tensors.keys != manifest.state.keys) throw JsonException("it has other tensors than the bundle's state")
    return manifest.state.mapValues { (key, wanted) ->
        val shape = wanted.shape
        val rows = when (wanted.counts) {
            Counted.CLASSES -> classes
            Counted.TASKS -> tasks
            null -> shape[0]
        }
        val tensor = tensors.getValue(key)
        if (tensor.shape != listOf(rows) + shape.drop(1)) throw JsonException("its tensor $key is ${tensor.shape}")
        val values = FloatArray(elements(shape)) { unknownValue(key) }
        FloatTensor(tensor.values.copyInto(values), shape)
    }
}

/** Checks that the classes are numbered without a gap and have a name each, and a task where there are tasks. */
private fun checkClasses(state: Map<String, FloatTensor>, classNames: List<String>, manifest: Manifest) {
    val isKnown = if (manifest.onePass) {
        state.getValue("classes.count").values.map { it > 0 }
    } else {
        val taskOf = state.getValue("classes.task").values
        if (taskOf.any { it >= manifest.tasks }) throw JsonException("it has classes of tasks that do not exist")
        taskOf.map { it >= 0 }
    }
    val known = isKnown.count { it }
    if (known != classNames.size || !isKnown.take(known).all { it }) {
        throw JsonException("it knows $known classes and names ${classNames.size}")
    }
}

private fun checksum(info: String, tensors: Map<String, StoredTensor>): String {
    val digest = MessageDigest.getInstance("SHA-256")
    digest.update(info.toByteArray())
    for ((name, tensor) in tensors.toSortedMap()) {
        digest.update(name.toByteArray())
        digest.update(tensor.bytes)
    }
    return hex(digest.digest())
}

internal fun hex(bytes: ByteArray): String =
    bytes.joinToString("") { (it.toInt() and 0xFF).toString(16).padStart(2, '0') }
