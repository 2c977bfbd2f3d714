package cbpnet.core

/** The teacher of a one-pass bundle: one lesson, of known classes and new ones together. */
internal class OnePassTeacher(private val program: Program) : Teacher {
    private val manifest = program.manifest
    private val learner = OnePassProgram(program)

    override fun storedState(): State = learner.storedState()

    override fun classify(state: State, images: List<RgbImage>): Scores =
        Scores(learner.predict(state, learner.features(state, images)), images.map { null })

    override fun teach(before: Knowledge, pictures: Map<String, List<Picture>>, how: Teaching): Taught {
        require(how.joinedTask == null) { "the bundle has no tasks, its classes are learnt together" }
        val new = newLabels(before, manifest, pictures.keys)
        val names = before.classNames + new
        val labels = pictures.flatMap { (label, few) -> few.map { names.indexOf(label) } }
        val images = LessonImages(pictures.values.flatten(), labels, manifest.preprocessing)
        val schedule = Schedule.of(manifest.settings, how.settings)
        how.progress.total = labels.size
        val start = System.nanoTime()
        val decided = { decision: Decision ->
            val looks = if (decision.adapts) labels.size * (schedule.epochs + 1) else 0
            val seconds = (System.nanoTime() - start) / 1e9 * decision.passes / labels.size
            how.progress.total += looks
            how.decided(Forecast(decision, labels.size, looks, seconds))
        }
        val learner = OnePassProgram(program.checked(how.check))
        val lesson = OnePassLesson(learner, manifest.settings, images, schedule, how.progress::count, decided)
        val (state, decision) = lesson.learn(before.state, SEED)
        val known = pictures.keys.filter { it in before.classNames }
        return Taught(
            Knowledge(state, names, before.lessons + 1),
            listOf(Lesson(task = null, new, known, labels.size, decision)),
        )
    }

    /** The scatter within the classes keeps what the class was to it; the readout is solved without it. */
    override fun forget(before: Knowledge, label: String): Knowledge {
        val state = withoutClass(before, label, manifest.state)
        val solved = learner.solve(state, state.number("readout.prior"), state.number("readout.scale"))
        return Knowledge(solved.state, before.classNames - label, before.lessons)
    }

    private companion object {
        const val SEED = 0 // the lesson's number joins it
    }
}
