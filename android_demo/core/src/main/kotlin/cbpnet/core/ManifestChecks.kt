package cbpnet.core

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
    for (name in Manifest.METHODS) {
        if (name !in manifest.methods) throw JsonException("the method $name is missing")
    }
    if (manifest.classNames.size > manifest.classes || manifest.classNames.toSet().size < manifest.classNames.size) {
        throw JsonException("\"class_names\" has too many names, or one of them twice")
    }
    for ((name, counts) in listOf("classes.task" to Counted.CLASSES, "tasks.known" to Counted.TASKS)) {
        val rows = capacity(manifest, counts)
        if (manifest.state[name] != StateTensor(listOf(rows), counts)) {
            throw JsonException("\"state\" must have $name of $rows numbers, one for each of ${counts.label}")
        }
    }
    for ((name, tensor) in manifest.state) {
        val rows = tensor.counts?.let { capacity(manifest, it) } ?: continue
        if (tensor.shape.firstOrNull() != rows) {
            throw JsonException("\"state\" has $name as ${tensor.shape}, whose first length must be $rows")
        }
    }
    checkTensors(manifest)
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
    for ((name, tensor) in manifest.state) {
        agreed["$STATE$name"] = TensorInfo("$STATE$name", DType.FLOAT32, tensor.shape)
    }
    for ((method, info) in manifest.methods.filterKeys { it in Manifest.METHODS }) {
        for (tensor in info.inputs + info.outputs.filter { it.name != "task" }) {
            if (tensor.name.startsWith(STATE) && tensor.name !in agreed) {
                throw JsonException("the method $method has ${tensor.name}, which is not in \"state\"")
            }
            if (agreed.getOrPut(tensor.name) { tensor } != tensor) {
                throw JsonException("the method $method has ${tensor.name} otherwise than the rest of the bundle")
            }
        }
    }
    val given = manifest.method("initial_state").outputs.map { it.name }
    if (given != manifest.state.keys.map { "$STATE$it" }) {
        throw JsonException("initial_state does not give the tensors of \"state\"")
    }
}
