package cbpnet.core

/** What the names of a journal's tensors begin with in a state file. */
internal const val JOURNAL = "journal."
private const val BASE = "base."
private const val ADAPTED = "adapted."
private const val DRIFT_SUMS = "drift."
private const val TAUGHT = "taught"

/** What is not tensors in a journal. */
internal fun journalJson(journal: Journal): JsonObject = JsonObject(
    "base_names" to texts(journal.baseNames),
    "events" to JsonArray(journal.events.map(::eventJson)),
    "head" to JsonNumber(journal.head),
    "settled" to JsonNumber(journal.settled),
    "limit" to JsonNumber(journal.limit.toString()),
)

/** A journal's tensors by the names that they have in a state file. */
internal fun journalTensors(journal: Journal): Map<String, StoredTensor> {
    val found = HashMap<String, StoredTensor>()
    if (!journal.restsOnBase || journal.canRedo) {
        val base = journal.base.filterValues { tensor -> tensor.values.any { it != 0f } }
        for ((name, tensor) in base) found[JOURNAL + BASE + name] = StoredTensor.of(tensor)
    }
    for ((number, event) in journal.events.withIndex()) {
        if (event !is Taught || event.left.labels.isEmpty() && event.left.adapted.isEmpty()) continue
        val prefix = "$JOURNAL$number."
        with(event.left) {
            found["${prefix}labels"] = StoredTensor.ofIntegers(labels)
            found["${prefix}pictures"] = StoredTensor.ofKeys(pictures)
            found["${prefix}x"] = StoredTensor.of(x)
            for ((name, tensor) in adapted) found[prefix + ADAPTED + name] = StoredTensor.of(tensor)
            for ((name, tensor) in drift) found[prefix + DRIFT_SUMS + name] = StoredTensor.of(tensor)
        }
    }
    return found
}

/** The tensors of a journal's base in a state file, without those that are zeros. */
internal fun baseTensors(tensors: Map<String, StoredTensor>): State = floats(JOURNAL + BASE, tensors)

/**
 * A journal from its JSON and its tensors.
 *
 * @param base what its fold starts from.
 * @throws JsonException they contradict each other or the [manifest].
 */
internal fun readJournal(
    json: JsonObject,
    tensors: Map<String, StoredTensor>,
    base: State,
    manifest: Manifest,
): Journal {
    val names = json.texts("base_names")
    val events = json.children("events").mapIndexed { number, event ->
        if (event.text("kind") == TAUGHT) taught(event, "$JOURNAL$number.", tensors, manifest) else edit(event)
    }
    val head = json.integer("head")
    val settled = json.integer("settled")
    val limit = json.number("limit")
    if (settled !in 0..head || head > events.size || limit < 0) {
        throw JsonException("the journal has ${events.size} events, $head in force, $settled settled, of $limit bytes")
    }
    if (names.size != knownIn(base).size || base.values.any { tensor -> tensor.values.any(Float::isNaN) }) {
        throw JsonException("the journal starts from other classes than it names, or from what is no number")
    }
    val journal = Journal(base, names, events, head, settled, limit.toLong())
    val odd = (tensors.keys - journalTensors(journal).keys).filter { !it.startsWith(JOURNAL + BASE) }
    if (odd.isNotEmpty()) throw JsonException("the journal's tensor ${odd.first()} belongs to no event")
    return journal
}

private fun eventJson(event: Event): JsonObject = when (event) {
    is Taught -> JsonObject(
        "kind" to JsonText(TAUGHT),
        "id" to JsonText(event.id),
        "time" to JsonNumber(event.time.toString()),
        "source" to JsonText(event.source),
        "names" to texts(event.names),
        "counts" to JsonArray(event.counts.map(::JsonNumber)),
        "reason" to JsonText(event.reason.label),
        "accuracy" to (event.accuracy?.let { JsonNumber(it.toString()) } ?: JsonNull),
        "kept" to texts(event.left.kept),
    )
    is Edit -> JsonObject(
        "kind" to JsonText(event.kind.label),
        "time" to JsonNumber(event.time.toString()),
        "label" to JsonText(event.label),
        "new" to JsonText(event.new),
        "pictures" to JsonArray(event.pictures.map { JsonNumber(it.toString()) }),
    )
}

private fun taught(
    json: JsonObject,
    prefix: String,
    tensors: Map<String, StoredTensor>,
    manifest: Manifest,
): Taught {
    val reason = json.text("reason")
    val names = json.texts("names")
    return Taught(
        json.text("id"),
        json.number("time").toLong(),
        json.text("source"),
        names,
        json.integers("counts"),
        Reason.entries.find { it.label == reason } ?: throw JsonException("the reason \"$reason\" is not known"),
        if (json["accuracy"] == JsonNull) null else json.number("accuracy"),
        left(json.texts("kept"), names.size, prefix, tensors, manifest),
    )
}

private fun edit(json: JsonObject): Edit {
    val kind = json.text("kind")
    return Edit(
        EditKind.entries.find { it.label == kind } ?: throw JsonException("an event \"$kind\" is not known"),
        json.number("time").toLong(),
        json.text("label"),
        json.text("new"),
        json.items("pictures").map {
            it.toString().toULongOrNull() ?: throw JsonException("$it is no picture's key")
        },
    )
}

/** What a lesson of so many classes leaves, by its tensors; nothing where there are none. */
private fun left(
    kept: List<String>,
    classes: Int,
    prefix: String,
    tensors: Map<String, StoredTensor>,
    manifest: Manifest,
): Left {
    val own = tensors.filterKeys { it.startsWith(prefix) }.mapKeys { it.key.removePrefix(prefix) }
    if (own.isEmpty()) return Left.NOTHING
    fun tensor(name: String) = own[name] ?: throw JsonException("the journal's tensor $prefix$name is missing")
    val x = tensor("x")
    val left = Left(
        tensor("labels").integers(),
        tensor("pictures").keys(),
        HalfRows(x.halves(), manifest.countedFeatures.shape[1]),
        floats(ADAPTED, own),
        floats(DRIFT_SUMS, own),
        kept,
    )
    val images = left.labels.size
    val sizes = left.pictures.size == images && x.shape == listOf(images, left.x.width)
    val sums = manifest.methods["compare"]?.zeros(DRIFT).orEmpty().mapValues { (name, sums) ->
        if (name in BY_CLASS) listOf(kept.size) + sums.shape.drop(1) else sums.shape
    }
    val shapes = left.adapted.all { (name, value) -> isAdapted(name) && manifest.state[name]?.shape == value.shape } &&
        left.drift.all { (name, value) -> sums[name] == value.shape } &&
        (left.drift.isEmpty() || left.drift.keys == sums.keys)
    val numbers = left.x.bits.all { float(it).isFinite() } &&
        (left.adapted.values + left.drift.values).all { tensor -> tensor.values.all(Float::isFinite) }
    if (!sizes || !shapes || !numbers || left.labels.any { it !in 0 until classes }) {
        throw JsonException("the tensors $prefix of the journal are not those of a lesson of $classes classes")
    }
    return left
}

private fun floats(prefix: String, tensors: Map<String, StoredTensor>): State =
    tensors.filterKeys { it.startsWith(prefix) }
        .entries.associate { (name, tensor) -> name.removePrefix(prefix) to tensor.floats() }

private fun texts(values: List<String>) = JsonArray(values.map(::JsonText))
