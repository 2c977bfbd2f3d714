package cbpnet.app

import android.app.Activity
import android.content.Intent
import android.os.Bundle
import android.view.View
import android.widget.AdapterView
import android.widget.ArrayAdapter
import android.widget.Button
import android.widget.Spinner
import android.widget.TextView

/** Threads, epochs and the bundle. */
class SettingsActivity : Activity() {
    private lateinit var bundle: TextView
    private lateinit var builtIn: Button
    private val showState = ::show

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(R.layout.settings)
        bundle = view(R.id.settings_bundle)
        builtIn = view(R.id.settings_built_in)
        val threads = Settings.THREAD_CHOICES.map { if (it == 0) getString(R.string.automatic) else it.toString() }
        choices(R.id.settings_threads, threads, Settings.THREAD_CHOICES.indexOf(demo.settings.threads)) {
            demo.settings.threads = Settings.THREAD_CHOICES[it]
            whenIdle { demo.learner.open() }
        }
        val epochs = Settings.EPOCH_CHOICES.map { if (it == 0) getString(R.string.bundles_own) else it.toString() }
        choices(R.id.settings_epochs, epochs, Settings.EPOCH_CHOICES.indexOf(demo.settings.epochs)) {
            demo.settings.epochs = Settings.EPOCH_CHOICES[it]
        }
        view<Button>(R.id.settings_choose).setOnClickListener {
            val pick = Intent(Intent.ACTION_OPEN_DOCUMENT).setType("*/*").addCategory(Intent.CATEGORY_OPENABLE)
            whenIdle { startActivityForResult(pick, BUNDLE) }
        }
        builtIn.setOnClickListener { whenIdle { demo.learner.open { demo.bundles.useBuiltIn() } } }
    }

    override fun onStart() {
        super.onStart()
        demo.learner.state.observe(showState)
    }

    override fun onStop() {
        demo.learner.state.ignore(showState)
        super.onStop()
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        val document = data?.data ?: return
        // What is no bundle is refused before the learner is touched.
        inBackground({
            contentResolver.openInputStream(document)?.use(demo.bundles::choose)
        }) { demo.learner.open() }
    }

    private fun show(state: LearnerState) {
        builtIn.isEnabled = demo.bundles.isChosen && demo.bundles.hasBuiltIn
        bundle.text = when (state) {
            LearnerState.Opening -> getString(R.string.opening)
            LearnerState.NoBundle -> getString(R.string.no_bundle)
            is LearnerState.Failed -> state.message
            is LearnerState.Ready -> state.session.manifest.let {
                getString(R.string.bundle_in_use, it.backbone.name, it.precision, it.classes)
            }
        }
    }

    /** A lesson holds on to its bundle. */
    private fun whenIdle(action: () -> Unit) {
        if (demo.lesson.state.value is LessonState.Running) say(getString(R.string.wait_for_lesson)) else action()
    }

    private fun choices(id: Int, texts: List<String>, first: Int, onChosen: (Int) -> Unit) {
        var current = first
        view<Spinner>(id).apply {
            adapter = ArrayAdapter(this@SettingsActivity, android.R.layout.simple_spinner_item, texts)
                .apply { setDropDownViewResource(android.R.layout.simple_spinner_dropdown_item) }
            setSelection(first)
            onItemSelectedListener = object : AdapterView.OnItemSelectedListener {
                override fun onItemSelected(parent: AdapterView<*>?, view: View?, position: Int, id: Long) {
                    if (position != current) onChosen(position)
                    current = position
                }

                override fun onNothingSelected(parent: AdapterView<*>?) = Unit
            }
        }
    }

    private companion object {
        const val BUNDLE = 5
    }
}
