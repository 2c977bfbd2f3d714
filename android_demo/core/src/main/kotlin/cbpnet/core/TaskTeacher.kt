package cbpnet.core

/** The teacher of a bundle of the paper's learner: task after task, each with its own classes. */
internal class TaskTeacher(private val program: Program) : Teacher {
    private val manifest = program.manifest
    private val learner = TaskProgram(program)

    override fun start(): Knowledge = Knowledge(learner.storedState(), manifest.classNames, lessons = 0)

    override fun classify(state: State, images: List<RgbImage>): List<Answer> =
        learner.predict(state, images, learner.query(images))

    override fun teach(before: Knowledge, pictures: Map<String, List<Picture>>, how: Teaching): Learnt {
        val plan = planLessons(before, manifest, pictures.keys, how.joinedTask?.minus(1))
        val names = before.classNames + pictures.keys.filter { it !in before.classNames }
        val schedule = Schedule.of(manifest.settings, how.settings)
        how.progress.total = pictures.values.sumOf { it.size } * (1 + schedule.epochs)
        val learner = TaskProgram(program.checked(how.check))
        val state = plan.entries.fold(before.state) { state, (task, labels) ->
            val shown = labels.flatMap { label -> pictures.getValue(label).map { it to names.indexOf(label) } }
            val examples = shown.chunked(manifest.microBatch).flatMap { part ->
                lookAt(learner, part).also { how.progress.count(part.size) }
            }
            learnTask(learner, state, task, examples, schedule, before.lessons, how.progress)
        }
        val lessons = plan.map { (task, labels) ->
            val (known, new) = labels.partition { it in before.classNames }
            Lesson(task + 1, new, known, labels.sumOf { pictures.getValue(it).size })
        }
        return Learnt(Knowledge(state, names, before.lessons + 1), lessons)
    }

    override fun forget(before: Knowledge, label: String): Knowledge = forgetWithItsTask(before, label, manifest.state)

    override fun rename(before: Knowledge, label: String, new: String): Knowledge =
        Knowledge(before.state, before.classNames.map { if (it == label) new else it }, before.lessons)

    override fun correct(before: Knowledge, change: (Journal) -> Journal): Knowledge = throw InputException(
        "This bundle has tasks, whose lessons are in its weights: they cannot be undone or corrected. Export one " +
            "that learns in one pass.",
    )

    /** Pictures with their class numbers, each decoded once, with their query features. */
    private fun lookAt(learner: TaskProgram, shown: List<Pair<Picture, Int>>): List<Example> {
        val images = shown.map { (picture, _) -> picture.prepared(manifest.preprocessing) }
        val queries = learner.query(images)
        return shown.indices.map { Example(images[it], queries[it], shown[it].second) }
    }

    /** The state after learning a task: observe each image once, begin the task, train. */
    private fun learnTask(
        learner: TaskProgram,
        start: State,
        task: Int,
        examples: List<Example>,
        schedule: Schedule,
        seed: Int,
        progress: Progress,
    ): State {
        val labels = examples.map { it.label }
        val observed = learner.observe(start, examples.map { it.query }, labels)
        val random = RandomStream(seed, task + 1)
        val begun = learner.beginTask(observed, task, labels.toSet())
        return train(learner.steps, begun, examples, schedule, random, random, progress::count)
    }
}
