package cbpnet.core

private val TASK_METHODS = listOf("initial_state", "query", "observe", "begin_task", "predict", "gradients", "update")
private val COUNTING = listOf("initial_state", "features", "observe", "solve", "leave_one_out", "predict")
private val ADAPTING = listOf("begin_task", "gradients", "update", "compare", "carry")
private val OF_ROWS = setOf("observe", "leave_one_out", "compare") // in one pass: of features, no micro-batch

/** The methods of a bundle's learner. */
private fun methodsOf(settings: LearnerSettings): List<String> = when (settings.kind) {
    AdaptationKind.CBPNET -> TASK_METHODS
    AdaptationKind.NEVER -> COUNTING
    else -> COUNTING + ADAPTING
}

/** Throws [JsonException] where a manifest's entries contradict each other. */
internal fun checkManifest(manifest: Manifest) {
    for ((name, count) in listOf(
        "classes" to manifest.classes,
        "tasks" to manifest.tasks,
        "micro_batch" to manifest.microBatch,
        "dim" to manifest.backbone.dim,
    )) {
        if (count < 1) throw JsonException("\"$name\" is $count, which must be at least 1")
    }
    for (name in methodsOf(manifest.settings)) {
        if (name !in manifest.methods) throw JsonException("the method $name is missing")
    }
    if (manifest.classNames.size > manifest.classes || manifest.classNames.toSet().size < manifest.classNames.size) {
        throw JsonException("\"class_names\" has too many names, or one of them twice")
    }
    checkState(manifest)
    checkTensors(manifest)
}

/** Checks the tensors of the state that a host reads itself, and the rows of all. */
private fun checkState(manifest: Manifest) {
    for ((name, wanted) in if (manifest.onePass) onePassTensors(manifest) else taskTensors(manifest)) {
        if (manifest.state[name] != wanted) {
            val rows = wanted.counts?.let { ", one for each of ${it.label}" }.orEmpty()
            throw JsonException("\"state\" must have $name of ${wanted.shape.joinToString(" x ")} numbers$rows")
        }
    }
    for ((name, tensor) in manifest.state) {
        val rows = tensor.counts?.let { capacity(manifest, it) } ?: continue
        if (tensor.shape.firstOrNull() != rows) {
            throw JsonException("\"state\" has $name as ${tensor.shape}, whose first length must be $rows")
        }
    }
    for ((name, tensor) in manifest.adaptation.filterKeys(::isAdapted)) {
        if (manifest.state[name]?.shape != tensor.shape) {
            throw JsonException("\"adaptation\" has $name otherwise than \"state\"")
        }
    }
}

private fun taskTensors(manifest: Manifest) = mapOf(
    "classes.task" to StateTensor(listOf(manifest.classes), Counted.CLASSES),
    "tasks.known" to StateTensor(listOf(manifest.tasks), Counted.TASKS),
)

private fun onePassTensors(manifest: Manifest): Map<String, StateTensor> {
    val numbers = listOf("readout.prior", "readout.scale", "unknown.threshold", "lessons.count", "lessons.adapted")
    return numbers.associateWith { StateTensor(listOf(1), null) } + mapOf(
        "classes.count" to StateTensor(listOf(manifest.classes), Counted.CLASSES),
        "readout.evidence" to StateTensor(with(manifest.settings) { listOf(priors.size, scales.size) }, null),
        "readout.calibration" to StateTensor(listOf(manifest.settings.scales.size), null),
    )
}

private fun capacity(manifest: Manifest, counts: Counted) = when (counts) {
    Counted.CLASSES -> manifest.classes
    Counted.TASKS -> manifest.tasks
}

/** Checks that methods agree on every tensor that several of them pass. */
private fun checkTensors(manifest: Manifest) {
    val images = with(manifest) { listOf(microBatch, CHANNELS, preprocessing.imageSize, preprocessing.imageSize) }
    val agreed = HashMap<String, TensorInfo>()
    agreed["images"] = TensorInfo("images", DType.FLOAT32, images)
    agreed["labels"] = TensorInfo("labels", DType.INT64, listOf(manifest.microBatch))
    if (manifest.onePass) agreed += rowsOf(manifest.countedFeatures.shape)
    val layouts = mapOf(STATE to manifest.state, ADAPTATION to manifest.adaptation)
    for ((prefix, layout) in layouts) {
        for ((name, tensor) in layout) agreed["$prefix$name"] = TensorInfo("$prefix$name", DType.FLOAT32, tensor.shape)
    }
    for (method in methodsOf(manifest.settings)) {
        val info = manifest.method(method)
        for (tensor in info.inputs + info.outputs.filter { it.name != "task" }) {
            val prefix = layouts.keys.find { tensor.name.startsWith(it) }
            if (prefix != null && tensor.name !in agreed) {
                throw JsonException("the method $method has ${tensor.name}, which is not in \"${prefix.dropLast(1)}\"")
            }
            val ofRows = manifest.onePass && method in OF_ROWS && tensor.name in setOf("x", "labels")
            if (agreed.getOrPut(if (ofRows) "rows.${tensor.name}" else tensor.name) { tensor } != tensor) {
                throw JsonException("the method $method has ${tensor.name} otherwise than the rest of the bundle")
            }
        }
    }
    val given = manifest.method("initial_state").outputs.map { it.name }
    if (given != manifest.state.keys.map { "$STATE$it" }) {
        throw JsonException("initial_state does not give the tensors of \"state\"")
    }
}

/** What is given of features of a [shape], [n, F], to the methods that count or compare them. */
private fun rowsOf(shape: List<Int>): Map<String, TensorInfo> =
    listOf("before", "after").associateWith { TensorInfo(it, DType.FLOAT32, shape) } + mapOf(
        "weight" to TensorInfo("weight", DType.FLOAT32, shape.take(1)),
        "rows.x" to TensorInfo("x", DType.FLOAT32, shape),
        "rows.labels" to TensorInfo("labels", DType.INT64, shape.take(1)),
    )
