package cbpnet.app

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.widget.Button
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.TextView
import cbpnet.app.camera.CameraPane
import cbpnet.core.InputException
import cbpnet.core.RgbImage
import cbpnet.core.checkNewLabel
import cbpnet.core.cleanLabel

/** Collects pictures of a named thing, one thing after the other, and has them learnt together. */
class TeachActivity : Activity() {
    private lateinit var pane: CameraPane
    private lateinit var name: EditText
    private lateinit var shutter: ShutterButton
    private lateinit var count: TextView
    private lateinit var another: Button
    private lateinit var learn: Button
    private lateinit var strip: PictureStrip
    private val pictures get() = demo.pictures
    private var newest: RgbImage? = null

    /** The class of which pictures are taken; null until its name has been accepted. */
    private var label: String? = null
    private val known get() = demo.learner.session?.knowledge?.classNames.orEmpty()
    private val nameIsFixed get() = label?.let { it in known || pictures.waiting(it).isNotEmpty() } ?: false

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.teach)
        name = view(R.id.teach_name)
        shutter = view(R.id.teach_shutter)
        count = view(R.id.teach_count)
        another = view(R.id.teach_another)
        learn = view(R.id.teach_learn)
        pane = CameraPane(this) { newest = it }
        strip = PictureStrip(view<LinearLayout>(R.id.teach_pictures)) { picture ->
            confirm(getString(R.string.delete_picture), R.string.delete) {
                picture.delete()
                show()
            }
        }
        shutter.onShot = ::shoot
        another.setOnClickListener { begin(null) }
        learn.setOnClickListener { chooseTask() }
        view<Button>(R.id.teach_files).setOnClickListener { pickFiles() }
        begin(savedInstanceState?.getString(LABEL) ?: intent.getStringExtra(LABEL) ?: pictures.labels().firstOrNull())
    }

    override fun onSaveInstanceState(outState: Bundle) {
        super.onSaveInstanceState(outState)
        outState.putString(LABEL, label)
    }

    override fun onStart() {
        super.onStart()
        // What is being learnt is not to be changed meanwhile.
        if (demo.lesson.state.value is LessonState.Running) return watchLesson()
        pane.start()
        show()
    }

    override fun onStop() {
        shutter.release()
        pane.stop()
        super.onStop()
    }

    override fun onRequestPermissionsResult(request: Int, permissions: Array<String>, results: IntArray) {
        pane.answered(request)
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        if (request != FILES || data == null) return
        val clip = data.clipData
        val picked = if (clip == null) listOfNotNull(data.data) else List(clip.itemCount) { clip.getItemAt(it).uri }
        val label = accepted() ?: return
        inBackground({ picked.forEach { pictures.add(label, decodePicture(readDocument(it)).toJpeg()) } }, ::show)
    }

    private fun begin(with: String?) {
        label = with
        name.setText(with)
        show()
        if (with == null) name.requestFocus()
    }

    /** The label of the pictures, from what was typed; null, with the reason beside it, where it cannot be used. */
    private fun accepted(): String? {
        if (nameIsFixed) return label
        return try {
            val typed = cleanLabel(name.text.toString())
            val waiting = pictures.labels()
            if (typed !in waiting) checkNewLabel(typed, known + waiting)
            typed.also { label = it }
        } catch (error: InputException) {
            name.error = error.message
            name.requestFocus()
            null
        }
    }

    /** Keeps the newest frame; false where no more can be taken. */
    private fun shoot(): Boolean {
        val image = newest ?: return false
        val label = accepted() ?: return false
        if (pictures.waiting(label).size >= MOST) return false
        return try {
            pictures.add(label, image.toJpeg())
            show()
            true
        } catch (error: InputException) {
            say(error.message.orEmpty())
            false
        }
    }

    private fun show() {
        val taken = label?.let(pictures::waiting).orEmpty()
        val waiting = pictures.labels()
        val all = waiting.sumOf { pictures.waiting(it).size }
        name.isEnabled = !nameIsFixed
        count.text = getString(R.string.pictures_taken, taken.size, MOST)
        another.isEnabled = taken.isNotEmpty()
        learn.isEnabled = all > 0
        learn.text = resources.getQuantityString(R.plurals.learn_things, waiting.size, waiting.size, all)
        strip.show(taken)
    }

    private fun pickFiles() {
        if (accepted() == null) return
        val pick = Intent(Intent.ACTION_OPEN_DOCUMENT).setType("image/*")
            .addCategory(Intent.CATEGORY_OPENABLE).putExtra(Intent.EXTRA_ALLOW_MULTIPLE, true)
        startActivityForResult(pick, FILES)
    }

    /** New classes begin a task of their own, unless all tasks of the bundle are in use. */
    private fun chooseTask() {
        val session = demo.learner.session ?: return say(getString(R.string.opening))
        val knowledge = session.knowledge
        val isNew = pictures.labels().any { it !in knowledge.classNames }
        if (!session.manifest.onePass && isNew && knowledge.knownTasks == session.manifest.tasks) {
            confirm(getString(R.string.join_last_task, knowledge.knownTasks), R.string.join) {
                startLesson(joinedTask = knowledge.knownTasks)
            }
        } else {
            startLesson(joinedTask = null)
        }
    }

    private fun startLesson(joinedTask: Int?) {
        val session = demo.learner.session ?: return
        demo.lesson.start(session, demo.settings.epochs.takeIf { it > 0 }, joinedTask)
        watchLesson()
    }

    private fun watchLesson() {
        startActivity(Intent(this, LearnActivity::class.java))
        finish()
    }

    companion object {
        /** The extra that names a known class to be taught more. */
        const val LABEL = "label"
        private const val FILES = 2
        private const val MOST = 30
    }
}
